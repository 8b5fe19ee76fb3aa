"""Nodes."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.registry.strategy import Strategy

STRATEGY: Final = Strategy()
