"""Where the pure documents of `discovery/` and `openapi/` become answers."""

from __future__ import annotations

from controlplane.apiserver.context import Answer, Context


def discovery_answer(context: Context) -> Answer | None:
    """/api, /apis and below; None for a path that is not there."""
    return None


def openapi_answer(context: Context) -> Answer | None:
    """/openapi/v2, /openapi/v3 and below; None for a path that is not there."""
    return None
