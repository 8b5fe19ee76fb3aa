"""What an authorizer says of one request: yes, no, or nothing, and why."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.authz.attributes import Attributes


class Verdict(Enum):
    """ALLOW and DENY end the question; after NO_OPINION the next authorizer is asked."""

    ALLOW = "allow"
    DENY = "deny"
    NO_OPINION = "no opinion"


@dataclass(frozen=True, slots=True)
class Decision:
    """A verdict and the reason that the client is told."""

    verdict: Verdict
    reason: str = ""

    @property
    def allowed(self) -> bool:
        return self.verdict is Verdict.ALLOW


NO_OPINION: Final = Decision(Verdict.NO_OPINION)


class Mode(Protocol):
    """One entry of --authorization-mode."""

    async def decide(self, user: User, asked: Attributes) -> Decision: ...
