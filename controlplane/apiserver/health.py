"""/healthz, /livez, /readyz: `ok`, or with ?verbose a line for each check; one check by its path; ?exclude=name."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from controlplane.apiserver.context import Answer, Context, Result
from controlplane.apiserver.request import repeated
from controlplane.apiserver.services import Services
from controlplane.objects.status import ApiError

STORE_TIMEOUT_SECONDS: Final = 2.0
_TEXT: Final = "text/plain; charset=utf-8"

Check = Callable[[Services], Awaitable[str]]
"""Answers what is wrong; empty: nothing."""


async def _ping(services: Services) -> str:
    return ""


async def _store(services: Services) -> str:
    try:
        async with asyncio.timeout(STORE_TIMEOUT_SECONDS):
            await services.store.revision()
    except (ApiError, TimeoutError) as error:
        return f"the store did not answer: {error}"
    return ""


async def _bootstrap(services: Services) -> str:
    return "" if services.is_ready else "not finished"


async def _shutdown(services: Services) -> str:
    return "process is shutting down" if services.is_stopping else ""


_LIVE: Final[dict[str, Check]] = {"ping": _ping, "log": _ping, "etcd": _store}
_STARTED: Final[dict[str, Check]] = {**_LIVE, "poststarthook/rbac/bootstrap-roles": _bootstrap}
CHECKS: Final[dict[str, dict[str, Check]]] = {
    "/healthz": _STARTED,
    "/livez": _LIVE,
    "/readyz": {**_STARTED, "shutdown": _shutdown},
}


def check_paths(root: str) -> list[str]:
    """The paths of single checks."""
    return [f"{root}/{name}" for name in CHECKS[root]]


async def handle(context: Context) -> Result:
    path = context.info.path.path.rstrip("/")
    root = "/" + path.split("/")[1]
    checks, single = CHECKS.get(root), path[len(root) + 1 :]
    if checks is None or (single and single not in checks):
        return Answer(b"404 page not found\n", 404, _TEXT)
    if single:
        checks = {single: checks[single]}
    excluded = set(repeated(context.raw_query, "exclude"))
    lines, failed = [], False
    for name, check in checks.items():
        if name in excluded:
            lines.append(f"[+]{name} excluded: ok")
            continue
        why = await check(context.services)
        failed = failed or bool(why)
        lines.append(f"[-]{name} failed: {why}" if why else f"[+]{name} ok")
    if failed:
        text = "\n".join([*lines, f"{root[1:]} check failed", ""])
        return Answer(text.encode(), 500, _TEXT)
    if "verbose" in context.query:
        text = "\n".join([*lines, f"{root[1:]} check passed", ""])
        return Answer(text.encode(), 200, _TEXT)
    return Answer(b"ok", 200, _TEXT)
