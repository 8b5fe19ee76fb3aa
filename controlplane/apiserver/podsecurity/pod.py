"""A pod as the controls look at it, and the words of what they find."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from controlplane.objects import status

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Pod:
    """Metadata and spec of a pod or of a template."""

    annotations: Mapping[str, str]
    spec: Object

    @classmethod
    def of(cls, metadata: Object, spec: Object) -> Pod:
        return cls(metadata.get("annotations") or {}, spec)

    @property
    def security(self) -> Object:
        """The pod's security context."""
        return self.spec.get("securityContext") or {}

    @property
    def containers(self) -> Iterator[Object]:
        """All containers: initial, ordinary, ephemeral."""
        for field in ("initContainers", "containers", "ephemeralContainers"):
            yield from self.spec.get(field) or ()

    @property
    def is_windows(self) -> bool:
        return bool((self.spec.get("os") or {}).get("name") == "windows")

    @property
    def has_own_users(self) -> bool:
        """Whether the pod runs in a user namespace, where root is nobody outside."""
        return self.spec.get("hostUsers") is False

    def names(self, is_bad: Callable[[Object], bool]) -> list[str]:
        """Names of the containers whose security context is bad."""
        return [each.get("name", "") for each in self.containers if is_bad(each.get("securityContext") or {})]


@dataclass(frozen=True, slots=True)
class Finding:
    """Why a pod breaks a control: the control in few words, and what in the pod it is."""

    reason: str
    detail: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.detail})" if self.detail else self.reason


Control = Callable[[Pod], Finding | None]


@dataclass(frozen=True, slots=True)
class Check:
    """One control of the standards.  `versions` are (from minor version 1.N on, control), oldest first; `overrides` are
    checks of the lower level that this one includes, from the version on that the key says."""

    identifier: str
    versions: tuple[tuple[int, Control], ...]
    overrides: tuple[str, ...] = ()

    def at(self, minor: int) -> Control | None:
        """The control in a version; None while it did not exist."""
        found = None
        for since, control in self.versions:
            if since <= minor:
                found = control
        return found


def quoted(names: Iterable[str]) -> str:
    return ", ".join(status.quote(name) for name in names)


def some(what: str, count: int, plural: str = "") -> str:
    """The word for so many: `container`, `containers`."""
    return what if count == 1 else plural or f"{what}s"


def containers(names: list[str]) -> str:
    return f"{some('container', len(names))} {quoted(names)}"


def setters(pod_is_bad: bool, names: list[str]) -> str:
    """Who set what is forbidden: `pod and containers "a", "b"`; empty for nobody."""
    return " and ".join((["pod"] if pod_is_bad else []) + ([containers(names)] if names else []))
