"""Which policies a namespace asks for: its `pod-security.kubernetes.io/` labels, on top of the cluster's defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from controlplane.apiserver.podsecurity.levels import LATEST, LEVELS, RESTRICTED, Policy, parse_version
from controlplane.objects.status import FieldError

PREFIX: Final = "pod-security.kubernetes.io/"
_ANYTHING: Final = Policy()
MODES: Final = ("enforce", "audit", "warn")


@dataclass(frozen=True, slots=True)
class Policies:
    """What refuses, what is written into the audit log, what the client is warned of."""

    enforce: Policy = _ANYTHING
    audit: Policy = _ANYTHING
    warn: Policy = _ANYTHING


ANYTHING: Final = Policies()


def policies(labels: Mapping[str, str], defaults: Policies) -> Policies:
    """The policies of a namespace. A level that is none counts as restricted where it refuses, and a version that is none as
    the latest: who mistypes is not less safe."""
    found = {}
    for mode in MODES:
        given: Policy = getattr(defaults, mode)
        level, minor = given.level, given.minor
        wanted = labels.get(PREFIX + mode)
        if wanted is not None:
            level = wanted if wanted in LEVELS else (RESTRICTED if mode == "enforce" else given.level)
        version = labels.get(f"{PREFIX}{mode}-version")
        if version is not None:
            known = parse_version(version)
            minor = LATEST if known is None else known
        found[mode] = Policy(level, minor)
    return Policies(**found)


def errors(labels: Mapping[str, str]) -> list[FieldError]:
    """What is wrong with the labels of a namespace."""
    found = []
    for mode in MODES:
        level, version = labels.get(PREFIX + mode), labels.get(f"{PREFIX}{mode}-version")
        if level is not None and level not in LEVELS:
            why = f"must be one of {', '.join(LEVELS)}"
            found.append(FieldError.invalid(f"metadata.labels[{PREFIX}{mode}]", level, why))
        if version is not None and parse_version(version) is None:
            why = 'must be "latest" or "v1.x"'
            found.append(FieldError.invalid(f"metadata.labels[{PREFIX}{mode}-version]", version, why))
    return found
