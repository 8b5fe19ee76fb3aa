"""Authorizer: the modes of --authorization-mode in their order; the first that allows or denies has spoken.

Members of `system:masters` may do everything, whatever the modes are, as in kube-apiserver.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.authn.user import MASTERS, User, node_name_of
from controlplane.apiserver.authz import attributes
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.decision import NO_OPINION, Decision, Mode, Verdict
from controlplane.apiserver.authz.node import NodeMode
from controlplane.apiserver.authz.rbac import Rbac
from controlplane.apiserver.authz.rules import Rule
from controlplane.apiserver.authz.webhook import WebhookMode
from controlplane.objects import status
from controlplane.objects.kinds import Resource

if TYPE_CHECKING:
    from controlplane.apiserver.config import ApiServerConfig
    from controlplane.apiserver.context import Context
    from controlplane.apiserver.storage.caches import Caches
    from controlplane.apiserver.storage.store import ObjectStore

OPEN_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")
MODES: Final = ("AlwaysAllow", "AlwaysDeny", "Node", "RBAC", "Webhook")
_MASTER: Final = Decision(Verdict.ALLOW)


def _is_open(path: str) -> bool:
    return any(path == root or path.startswith(root + "/") for root in OPEN_PATHS)


class _Always:
    """AlwaysAllow and AlwaysDeny, for tests of clients."""

    def __init__(self, decision: Decision) -> None:
        self._decision = decision

    async def decide(self, user: User, asked: Attributes) -> Decision:
        return self._decision


class Authorizer:
    """Decides by the modes that it was given, in their order."""

    def __init__(self, modes: Mapping[str, Mode]) -> None:
        self._modes = tuple(modes.values())
        self._names = tuple(modes)
        self._rbac = next((mode for mode in self._modes if isinstance(mode, Rbac)), None)

    @classmethod
    def of(cls, config: ApiServerConfig, caches: Caches, store: ObjectStore) -> Authorizer:
        """As configured; ValueError for a mode that there is not or that lacks its file."""
        modes: dict[str, Mode] = {}
        for name in config.authorization_mode:
            if name not in MODES:
                raise ValueError(f"--authorization-mode {name}: known are {', '.join(MODES)}")
            if name in modes:
                raise ValueError(f"--authorization-mode has {name} more than once")
            if name == "Node":
                modes[name] = NodeMode(caches, store)
            elif name == "RBAC":
                modes[name] = Rbac(caches)
            elif name == "Webhook":
                modes[name] = WebhookMode.of(config)
            else:
                modes[name] = _Always(Decision(Verdict.ALLOW) if name == "AlwaysAllow" else NO_OPINION)
        if not modes:
            raise ValueError("--authorization-mode names no mode")
        return cls(modes)

    async def decide(self, user: User, asked: Attributes) -> Decision:
        """The first verdict; NO_OPINION with all reasons when no mode had one."""
        if MASTERS in user.groups:
            return _MASTER
        reasons: list[str] = []
        for mode in self._modes:
            decision = await mode.decide(user, asked)
            if decision.verdict is not Verdict.NO_OPINION:
                return decision
            if decision.reason:
                reasons.append(decision.reason)
        return Decision(Verdict.NO_OPINION, "\n".join(reasons)) if reasons else NO_OPINION

    async def allows(self, user: User, asked: Attributes) -> bool:
        """Whether the user may."""
        return (await self.decide(user, asked)).allowed

    async def rules(self, user: User, namespace: str) -> list[Rule]:
        """What SelfSubjectRulesReview answers: what RBAC knows of."""
        if MASTERS in user.groups:
            everything = frozenset({"*"})
            return [Rule(everything, everything, everything), Rule(everything, paths=("*",))]
        return await self._rbac.rules(user, namespace) if self._rbac is not None else []

    def unlisted(self, user: User) -> str:
        """Which modes decide more for the user than rules can tell, in Kubernetes' words; "" when none does."""
        if MASTERS in user.groups:
            return ""
        words = {"Webhook": "webhook authorizer does not support user rule resolution"}
        if node_name_of(user) is not None:
            words["Node"] = "node authorizer does not support user rule resolution"
        return ", ".join(words[name] for name in self._names if name in words)

    @staticmethod
    def is_master(user: User) -> bool:
        """Whether everything is allowed to the user."""
        return MASTERS in user.groups

    async def rules_of_role(self, namespace: str, name: str) -> list[Rule]:
        """The rules of a Role, or of a ClusterRole when `namespace` is empty."""
        return await self._rbac.rules_of_role(namespace, name) if self._rbac is not None else []

    async def require(self, user: User, asked: Attributes) -> None:
        """Raise 403 in Kubernetes' words unless the user may."""
        decision = await self.decide(user, asked)
        if decision.allowed:
            return
        why = asked.refusal(user)
        if decision.reason:
            why = f"{why}: {decision.reason}"
        if asked.path:
            raise status.forbidden(None, "", why)
        resource = Resource(asked.group, asked.version, asked.resource, asked.resource, bool(asked.namespace))
        raise status.forbidden(resource, asked.name, why)

    async def check(self, context: Context) -> None:
        """Raise 403 unless the request's user may do what it asks."""
        if MASTERS in context.user.groups:
            return
        asked = attributes.of(context)
        if asked.path and asked.verb in ("get", "head") and _is_open(asked.path):
            return
        await self.require(context.user, asked)

    async def close(self) -> None:
        """Close what the modes hold open."""
        for mode in self._modes:
            if isinstance(mode, WebhookMode):
                await mode.close()
