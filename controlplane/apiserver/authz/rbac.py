"""Authorizer: RBAC over watch caches of roles and bindings.

Bindings are indexed by subject, roles are compiled once per version, decisions are remembered until a role or a binding
changes. The caches are opened by the first user who is not in `system:masters`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.authn.user import MASTERS, User, service_account_name
from controlplane.apiserver.authz import attributes
from controlplane.apiserver.authz.attributes import Attributes
from controlplane.apiserver.authz.rules import Rule
from controlplane.apiserver.storage.cache import Event, WatchCache
from controlplane.apiserver.storage.caches import Caches
from controlplane.apiserver.storage.codec import Object
from controlplane.apiserver.storage.entry import Entry
from controlplane.objects import selectors, status
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES, Resource

if TYPE_CHECKING:
    from controlplane.apiserver.context import Context

REMEMBERED_DECISIONS: Final = 20_000
OPEN_PATHS: Final = ("/healthz", "/livez", "/readyz", "/version")

Subject = tuple[str, str]  # ("User" | "Group", name)


@dataclass(frozen=True, slots=True)
class Binding:
    """Subjects that have a role, in a namespace or (namespace "") everywhere."""

    namespace: str
    subjects: tuple[Subject, ...]
    role_kind: str
    role_name: str

    @property
    def role_key(self) -> tuple[str, str]:
        """(namespace or "" for cluster roles, name)."""
        return ("" if self.role_kind == "ClusterRole" else self.namespace, self.role_name)


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
    return Binding(namespace, tuple(_subjects(obj)), reference.get("kind", ""), reference.get("name", ""))


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

    def rules_for(self, user: User, namespace: str) -> Iterator[Rule]:
        """Every rule that a user has in a namespace ("": only those that hold everywhere)."""
        for subject in (("User", user.name), *(("Group", group) for group in user.groups)):
            for binding in self._by_subject.get(subject, {}).values():
                if not binding.namespace or binding.namespace == namespace:
                    yield from self.rules_of(binding.role_key)


class Authorizer:
    """Decides by the policy that the watch caches hold."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self._policy = Policy()
        self._decisions: dict[tuple[Any, ...], bool] = {}
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

    async def allows(self, user: User, asked: Attributes) -> bool:
        """Whether the user may."""
        if MASTERS in user.groups:
            return True
        await self._ready()
        key = (user.name, user.groups, asked)
        found = self._decisions.get(key)
        if found is None:
            found = any(rule.allows(asked) for rule in self._policy.rules_for(user, asked.namespace))
            if len(self._decisions) >= REMEMBERED_DECISIONS:
                self._decisions.clear()
            self._decisions[key] = found
        return found

    async def rules(self, user: User, namespace: str) -> list[Rule]:
        """What SelfSubjectRulesReview answers."""
        if MASTERS in user.groups:
            everything = frozenset({"*"})
            return [Rule(everything, everything, everything), Rule(everything, paths=("*",))]
        await self._ready()
        return list(dict.fromkeys(self._policy.rules_for(user, namespace)))

    @staticmethod
    def is_master(user: User) -> bool:
        """Whether everything is allowed to the user."""
        return MASTERS in user.groups

    async def rules_of_role(self, namespace: str, name: str) -> list[Rule]:
        """The rules of a Role, or of a ClusterRole when `namespace` is empty."""
        await self._ready()
        return list(self._policy.rules_of((namespace, name)))

    async def require(self, user: User, asked: Attributes) -> None:
        """Raise 403 in Kubernetes' words unless the user may."""
        if await self.allows(user, asked):
            return
        why = asked.refusal(user)
        if asked.path:
            raise status.forbidden(None, "", why)
        resource = Resource(asked.group, asked.version, asked.resource, asked.resource, bool(asked.namespace))
        raise status.forbidden(resource, asked.name, why)

    async def check(self, context: Context) -> None:
        """Raise 403 unless the request's user may do what it asks."""
        if MASTERS in context.user.groups:
            return
        asked = attributes.of(context)
        if asked.path and asked.verb in ("get", "head") and asked.path.startswith(OPEN_PATHS):
            return
        await self.require(context.user, asked)
