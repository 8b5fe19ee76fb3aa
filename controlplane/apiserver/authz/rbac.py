"""Mode RBAC: roles and bindings, as watch caches have them.

Bindings are indexed by subject, roles are compiled once per version, decisions are remembered until a role or a binding
changes. The caches are opened by the first user who is not in `system:masters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from controlplane.apiserver.authn.user import User, service_account_name, split_service_account
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.decision import NO_OPINION, Decision, Verdict
from controlplane.apiserver.authz.rules import Rule
from controlplane.apiserver.storage.cache import Event, WatchCache
from controlplane.apiserver.storage.caches import Caches
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import selectors
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource

REMEMBERED_DECISIONS: Final = 20_000

Subject = tuple[str, str]  # ("User" | "Group", name)


@dataclass(frozen=True, slots=True)
class Binding:
    """Subjects that have a role, in a namespace or (namespace "") everywhere."""

    name: str
    namespace: str
    subjects: tuple[Subject, ...]
    role_kind: str
    role_name: str

    @property
    def role_key(self) -> tuple[str, str]:
        """(namespace or "" for cluster roles, name)."""
        return ("" if self.role_kind == "ClusterRole" else self.namespace, self.role_name)

    def reason(self, subject: Subject) -> str:
        """Why what this binding gives is allowed, in Kubernetes' words."""
        own = f'RoleBinding "{self.name}/{self.namespace}"' if self.namespace else f'ClusterRoleBinding "{self.name}"'
        kind, name = subject
        if kind == "User" and (account := split_service_account(name)) is not None:
            kind, name = "ServiceAccount", f"{account[1]}/{account[0]}"
        return f'RBAC: allowed by {own} of {self.role_kind} "{self.role_name}" to {kind} "{name}"'


@dataclass(frozen=True, slots=True)
class Role:
    """Compiled rules, labels that aggregation selects by, and what this role itself aggregates."""

    rules: tuple[Rule, ...]
    labels: dict[str, str]
    aggregates: tuple[selectors.LabelSelector, ...] = ()


def _subjects(obj: Object) -> Iterator[Subject]:
    for subject in obj.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name", "")
        if kind == "ServiceAccount":
            yield ("User", service_account_name(subject.get("namespace", ""), name))
        elif kind in ("User", "Group"):
            yield (kind, name)


def _binding(obj: Object) -> Binding:
    reference: Any = obj.get("roleRef") or {}
    namespace = obj["metadata"].get("namespace", "")
    name = obj["metadata"].get("name", "")
    return Binding(name, namespace, tuple(_subjects(obj)), reference.get("kind", ""), reference.get("name", ""))


def _role(obj: Object) -> Role:
    rule: Any = obj.get("aggregationRule") or {}
    aggregates = tuple(selectors.from_selector(each) for each in rule.get("clusterRoleSelectors") or ())
    return Role(
        tuple(Rule.of(each) for each in obj.get("rules") or ()), obj["metadata"].get("labels") or {}, aggregates
    )


class Policy:
    """Roles and bindings as they are now: pure data, kept by events."""

    def __init__(self) -> None:
        self.roles: dict[tuple[str, str], Role] = {}
        self._bindings: dict[bytes, Binding] = {}
        self._by_subject: dict[Subject, dict[bytes, Binding]] = {}
        self._aggregated: dict[tuple[str, str], tuple[Rule, ...]] = {}

    def set_role(self, obj: Object, *, gone: bool = False) -> None:
        key = (obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
        self._aggregated.clear()
        if gone:
            self.roles.pop(key, None)
        else:
            self.roles[key] = _role(obj)

    def set_binding(self, key: bytes, obj: Object | None) -> None:
        old = self._bindings.pop(key, None)
        if old is not None:
            for subject in old.subjects:
                self._by_subject.get(subject, {}).pop(key, None)
        if obj is not None:
            binding = self._bindings[key] = _binding(obj)
            for subject in binding.subjects:
                self._by_subject.setdefault(subject, {})[key] = binding

    def rules_of(self, key: tuple[str, str]) -> tuple[Rule, ...]:
        """The rules of a role, those that it aggregates included."""
        role = self.roles.get(key)
        if role is None:
            return ()
        if not role.aggregates:
            return role.rules
        found = self._aggregated.get(key)
        if found is None:
            more = [
                rule
                for (namespace, _), other in self.roles.items()
                if not namespace and other is not role and any(each.matches(other.labels) for each in role.aggregates)
                for rule in other.rules
            ]
            found = self._aggregated[key] = tuple(dict.fromkeys((*role.rules, *more)))
        return found

    def grants(self, user: User, namespace: str) -> Iterator[tuple[Binding, Subject, Rule]]:
        """Every rule that a user has in a namespace ("": only those that hold everywhere), and through what."""
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for binding in self._by_subject.get(subject, {}).values():
                if not binding.namespace or binding.namespace == namespace:
                    for rule in self.rules_of(binding.role_key):
                        yield binding, subject, rule

    def rules_for(self, user: User, namespace: str) -> Iterator[Rule]:
        """The rules alone."""
        return (rule for _, _, rule in self.grants(user, namespace))

    def decide(self, user: User, asked: Attributes) -> Decision:
        """Whether any rule allows it."""
        for binding, subject, rule in self.grants(user, asked.namespace):
            if rule.allows(asked):
                return Decision(Verdict.ALLOW, binding.reason(subject))
        return NO_OPINION


class Rbac:
    """Decides by the policy that the watch caches hold."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._policy = Policy()
        self._decisions: dict[tuple[Any, ...], Decision] = {}
        self._following: dict[Resource, WatchCache] = {}

    async def _ready(self) -> None:
        if len(self._following) == 4:
            return
        for resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS):
            self._caches.open(resource)
        for resource in (CLUSTER_ROLES, CLUSTER_ROLE_BINDINGS, ROLES, ROLE_BINDINGS):
            cache = await self._caches.ready(resource)
            if resource not in self._following:
                self._following[resource] = cache
                cache.listen(lambda event, resource=resource: self._on_event(resource, event))  # type: ignore[misc]
                self._reload(resource)

    def _reload(self, resource: Resource) -> None:
        for entry in self._following[resource].entries():
            self._set(resource, entry, gone=False)

    def _on_event(self, resource: Resource, event: Event | None) -> None:
        if event is None:
            self._policy = Policy()
            for each in self._following:
                self._reload(each)
        else:
            self._set(resource, event.entry, gone=event.deleted)

    def _set(self, resource: Resource, entry: Entry, *, gone: bool) -> None:
        self._decisions.clear()
        if resource in (ROLES, CLUSTER_ROLES):
            self._policy.set_role(entry.object(), gone=gone)
        else:
            self._policy.set_binding(entry.key, None if gone else entry.object())

    async def decide(self, user: User, asked: Attributes) -> Decision:
        """Whether a role of the user allows it."""
        await self._ready()
        key = (user.name, user.groups, asked)
        found = self._decisions.get(key)
        if found is None:
            found = self._policy.decide(user, asked)
            if len(self._decisions) >= REMEMBERED_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = found
        return found

    async def rules(self, user: User, namespace: str) -> list[Rule]:
        """Every rule that the user has in a namespace."""
        await self._ready()
        return list(dict.fromkeys(self._policy.rules_for(user, namespace)))

    async def rules_of_role(self, namespace: str, name: str) -> list[Rule]:
        """The rules of a Role, or of a ClusterRole when `namespace` is empty."""
        await self._ready()
        return list(self._policy.rules_of((namespace, name)))
