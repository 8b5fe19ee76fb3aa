"""Tokens that a program outside knows: a TokenReview is sent to it, its answers are remembered for a while."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.authn.user import AUTHENTICATED, User
from controlplane.apiserver.webhooks.reviewer import Remembered, Reviewer, ReviewFailed

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

_GROUP: Final = "authentication.k8s.io"
_NOBODY: Final = User("")

logger = logging.getLogger(__name__)


def user_of_status(found: dict[str, Any]) -> User | None:
    """The user of a TokenReview's status, if it names one."""
    if found.get("authenticated") is not True:
        return None
    user: dict[str, Any] = found.get("user") or {}
    if not user.get("username"):
        return None
    groups = [str(group) for group in user.get("groups") or ()]
    if AUTHENTICATED not in groups:
        groups.append(AUTHENTICATED)
    extra = {str(key): tuple(map(str, values)) for key, values in (user.get("extra") or {}).items()}
    return User(str(user["username"]), tuple(groups), str(user.get("uid") or ""), extra)


class WebhookTokens:
    """Asks and remembers, yes and no alike."""

    def __init__(self, reviewer: Reviewer, remembered_seconds: float) -> None:
        self._reviewer = reviewer
        self._seconds = remembered_seconds
        self._answers: Remembered[tuple[bytes, tuple[str, ...]], User] = Remembered()

    async def user_of(self, services: Services, token: str, audiences: Sequence[str]) -> User | None:
        """What the program says, or said not long ago; nobody when it cannot be asked."""
        wanted = tuple(audiences)
        key = (hashlib.sha256(token.encode()).digest(), wanted)
        known = self._answers.get(key)
        if known is None:
            try:
                spec = {"token": token, "audiences": list(wanted)}
                found = await self._reviewer.ask(_GROUP, "TokenReview", spec)
            except ReviewFailed as error:
                logger.warning("the token webhook cannot be asked: %s", error)
                return None
            told = found.get("audiences")
            fits = not told or not set(wanted).isdisjoint(told)
            known = (user_of_status(found) if fits else None) or _NOBODY
            self._answers.put(key, known, self._seconds)
        return known if known is not _NOBODY else None

    async def close(self) -> None:
        await self._reviewer.close()
