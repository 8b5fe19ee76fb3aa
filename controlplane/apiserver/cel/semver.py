"""Versions as semver.org has them (2.0.0), for Kubernetes' `semver` library of CEL.  Pure."""

from __future__ import annotations

import re
from typing import Any, Final

_IDENTIFIER: Final = r"(?:0|[1-9]\d*|\d*[a-zA-Z-][0-9a-zA-Z-]*)"
_VERSION: Final = re.compile(
    r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+([0-9a-zA-Z-]+(?:\.[0-9a-zA-Z-]+)*))?",
    re.ASCII,
)
_LOOSE: Final = re.compile(r"v?(\d+)(?:\.(\d+))?(?:\.(\d+))?([-+].*)?", re.ASCII)
_KEY: Final = "semver"

Version = dict[str, str]


def parse(text: str, normalize: bool = False) -> Version:
    """A version as it travels between functions, without its build metadata, which never counts; raises ValueError.

    With `normalize` a leading v, missing parts and leading zeros are put right first.
    """
    if normalize and (loose := _LOOSE.fullmatch(text.strip())):
        numbers = ".".join(str(int(part or 0)) for part in loose.groups()[:3])
        text = numbers + (loose[4] or "")
    found = _VERSION.fullmatch(text)
    if found is None:
        raise ValueError(f"invalid semantic version: {text}")
    return {_KEY: text.partition("+")[0]}


def is_version(value: Any) -> bool:
    """Whether a value of a rule is a version."""
    return isinstance(value, dict) and _KEY in value


def part(value: Version, at: int) -> int:
    """major, minor or patch: 0, 1 or 2."""
    return int(value[_KEY].partition("-")[0].split(".")[at])


def text(value: Version) -> str:
    return value[_KEY]


def _rank(value: Version) -> tuple[Any, ...]:
    numbers, _, release = value[_KEY].partition("-")
    identifiers = [
        (0, int(each), "") if each.isdecimal() else (1, 0, each) for each in (release.split(".") if release else ())
    ]
    return (*(int(each) for each in numbers.split(".")), not release, identifiers)


def compare(one: Version, other: Version) -> int:
    """-1, 0 or 1; a release is greater than what came before it."""
    left, right = _rank(one), _rank(other)
    return int(left > right) - int(left < right)
