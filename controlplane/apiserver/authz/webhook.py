"""Mode Webhook: a program outside answers SubjectAccessReviews; its answers are remembered for a while.

Who cannot be asked allows nothing: the next mode decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.decision import Decision, Verdict
from controlplane.apiserver.webhooks.reviewer import Remembered, Reviewer, ReviewFailed

if TYPE_CHECKING:
    from controlplane.apiserver.config import ApiServerConfig

_GROUP: Final = "authorization.k8s.io"


def review_spec(user: User, asked: Attributes, version: str) -> dict[str, Any]:
    """The spec of a SubjectAccessReview; v1beta1 calls groups `group`."""
    spec: dict[str, Any] = {"user": user.name}
    if user.groups:
        spec["group" if version == "v1beta1" else "groups"] = list(user.groups)
    if user.uid:
        spec["uid"] = user.uid
    if user.extra:
        spec["extra"] = {name: list(values) for name, values in user.extra.items()}
    if asked.path:
        spec["nonResourceAttributes"] = {"path": asked.path, "verb": asked.verb}
        return spec
    named = ("verb", "group", "version", "resource", "subresource", "name", "namespace")
    spec["resourceAttributes"] = {name: value for name in named if (value := getattr(asked, name))}
    return spec


class WebhookMode:
    """Asks and remembers; for how long depends on the answer."""

    def __init__(self, reviewer: Reviewer, allowed_seconds: float, refused_seconds: float) -> None:
        self._reviewer = reviewer
        self._allowed_seconds, self._refused_seconds = allowed_seconds, refused_seconds
        self._answers: Remembered[Any, Decision] = Remembered()

    @classmethod
    def of(cls, config: ApiServerConfig) -> WebhookMode:
        """As configured; ValueError without a usable file."""
        if config.authorization_webhook_config_file is None:
            raise ValueError("--authorization-mode Webhook needs --authorization-webhook-config-file")
        return cls(
            Reviewer(config.authorization_webhook_config_file, config.authorization_webhook_version),
            config.authorization_webhook_authorized_ttl_seconds,
            config.authorization_webhook_unauthorized_ttl_seconds,
        )

    async def decide(self, user: User, asked: Attributes) -> Decision:
        """What the program says, or said not long ago."""
        extra = tuple(sorted((name, tuple(values)) for name, values in user.extra.items()))
        key = (user.name, user.uid, user.groups, extra, asked)
        known = self._answers.get(key)
        if known is not None:
            return known
        spec = review_spec(user, asked, self._reviewer.version)
        try:
            found = await self._reviewer.ask(_GROUP, "SubjectAccessReview", spec)
        except ReviewFailed as error:
            return Decision(Verdict.NO_OPINION, f"the authorization webhook cannot be asked: {error}")
        allowed = found.get("allowed") is True
        verdict = Verdict.ALLOW if allowed else Verdict.DENY if found.get("denied") is True else Verdict.NO_OPINION
        decision = Decision(verdict, str(found.get("reason") or ""))
        self._answers.put(key, decision, self._allowed_seconds if allowed else self._refused_seconds)
        return decision

    async def close(self) -> None:
        await self._reviewer.close()
