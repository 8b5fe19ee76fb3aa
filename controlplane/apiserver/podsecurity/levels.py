"""A pod against a level of the standards in a version."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from controlplane.apiserver.podsecurity import baseline, restricted
from controlplane.apiserver.podsecurity.pod import Control, Finding, Pod

PRIVILEGED: Final = "privileged"
BASELINE: Final = "baseline"
RESTRICTED: Final = "restricted"
LEVELS: Final = (PRIVILEGED, BASELINE, RESTRICTED)
LATEST: Final = 1 << 30
_VERSION: Final = re.compile(r"v1\.(0|[1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Policy:
    """A level and the minor version (1.N) of the standards that it is taken from."""

    level: str = PRIVILEGED
    minor: int = LATEST

    def __str__(self) -> str:
        return f"{self.level}:{'latest' if self.minor == LATEST else f'v1.{self.minor}'}"

    @property
    def is_strict(self) -> bool:
        """Whether it forbids anything."""
        return self.level != PRIVILEGED


def parse_version(text: str) -> int | None:
    """The minor version in `latest` or `v1.N`; None for anything else."""
    if text == "latest":
        return LATEST
    found = _VERSION.fullmatch(text)
    return int(found[1]) if found else None


@lru_cache(maxsize=256)
def controls(policy: Policy) -> tuple[Control, ...]:
    """What a pod must pass, in order; what a stricter control includes is left out."""
    if policy.level == PRIVILEGED:
        return ()
    basic = {check.identifier: check.at(policy.minor) for check in baseline.CHECKS}
    further: list[Control] = []
    if policy.level == RESTRICTED:
        for check in restricted.CHECKS:
            control = check.at(policy.minor)
            if control is not None:
                further.append(control)
                for identifier in check.overrides:
                    basic[identifier] = None
    return (*(each for each in basic.values() if each is not None), *further)


def findings(policy: Policy, pod: Pod) -> list[Finding]:
    """Everything in which the pod breaks the policy."""
    return [found for control in controls(policy) if (found := control(pod)) is not None]


def told(found: list[Finding]) -> str:
    """The findings as an error or a warning has them."""
    return ", ".join(map(str, found))
