"""Values as rules see them: names escaped where they are no identifiers, times and durations as such."""

from __future__ import annotations

import base64
import binascii
import re
from datetime import timedelta
from typing import Any, Final

from controlplane.objects.meta import parse_time
from controlplane.objects.structural import Node

_RESERVED: Final = frozenset({
    "true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if", "import", "let",
    "loop", "package", "namespace", "return", "var", "void", "while",
})  # fmt: skip
_IDENTIFIER: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_DURATION: Final = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|μs|ms|s|m|h)")
_SECONDS: Final = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "μs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


def escaped(name: str) -> str:
    """A property's name as expressions write it."""
    if name in _RESERVED:
        return f"__{name}__"
    if _IDENTIFIER.fullmatch(name) and "__" not in name:
        return name
    found = name.replace("__", "__underscores__").replace(".", "__dot__").replace("-", "__dash__")
    return found.replace("/", "__slash__")


def _string(node: Node, value: str) -> Any:
    try:
        if node.format in ("date-time", "datetime"):
            return parse_time(value)
        if node.format == "duration":
            parts = _DURATION.findall(value)
            sign = -1 if value.startswith("-") else 1
            return sign * timedelta(seconds=sum(float(number) * _SECONDS[unit] for number, unit in parts))
        if node.format == "byte":
            return base64.b64decode(value)
    except (ValueError, binascii.Error):
        return value
    return value


def shown(node: Node | None, value: Any) -> Any:
    """A value as a rule sees it."""
    if node is None:
        return value
    if isinstance(value, dict):
        return {
            escaped(name) if name in node.properties else name: shown(node.child(name), part)
            for name, part in value.items()
        }
    if isinstance(value, list):
        return [shown(node.items, part) for part in value]
    if isinstance(value, str):
        return _string(node, value) if node.format else value
    if node.type == "number" and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value
