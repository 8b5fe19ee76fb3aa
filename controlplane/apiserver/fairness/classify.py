"""FlowSchemas, compiled; the first that matches a request has it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from controlplane.apiserver.authn.user import User, service_account_name
from controlplane.apiserver.request import RequestInfo

Object = dict[str, Any]

_ALL: Final = "*"


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """What of the API a rule is about."""

    verbs: frozenset[str]
    groups: frozenset[str]
    resources: frozenset[str]
    namespaces: frozenset[str]
    cluster_scope: bool

    def matches(self, info: RequestInfo) -> bool:
        path = info.path
        resource = f"{path.resource}/{path.subresource}" if path.subresource else path.resource
        if not (_has(self.verbs, info.verb) and _has(self.groups, path.group) and _has(self.resources, resource)):
            return False
        return _has(self.namespaces, path.namespace) if path.namespace else self.cluster_scope


@dataclass(frozen=True, slots=True)
class PathRule:
    """Which other paths a rule is about; a pattern may end in `*`."""

    verbs: frozenset[str]
    paths: tuple[str, ...]

    def matches(self, info: RequestInfo) -> bool:
        path = info.path.path
        return _has(self.verbs, info.verb) and any(
            path.startswith(each[:-1]) if each.endswith(_ALL) else path == each for each in self.paths
        )


@dataclass(frozen=True, slots=True)
class Rule:
    """Subjects, and what of theirs is meant."""

    users: frozenset[str]
    groups: frozenset[str]
    account_namespaces: tuple[str, ...]  # all of whose service accounts are meant
    resources: tuple[ResourceRule, ...]
    paths: tuple[PathRule, ...]

    def matches(self, user: User, info: RequestInfo) -> bool:
        if not self._is_of(user):
            return False
        rules: Iterable[ResourceRule | PathRule] = self.resources if info.is_resource else self.paths
        return any(rule.matches(info) for rule in rules)

    def _is_of(self, user: User) -> bool:
        if user.name in self.users or _ALL in self.users or _ALL in self.groups:
            return True
        if not self.groups.isdisjoint(user.groups):
            return True
        return any(user.name.startswith(service_account_name(each, "")) for each in self.account_namespaces)


@dataclass(frozen=True, slots=True)
class Schema:
    """One FlowSchema.  `distinguisher`: "ByUser", "ByNamespace" or ""."""

    name: str
    uid: str
    level: str
    precedence: int
    distinguisher: str
    rules: tuple[Rule, ...]

    def matches(self, user: User, info: RequestInfo) -> bool:
        return any(rule.matches(user, info) for rule in self.rules)

    def flow(self, user: User, info: RequestInfo) -> str:
        """What keeps one flow of the schema from another."""
        if self.distinguisher == "ByUser":
            return user.name
        return info.path.namespace if self.distinguisher == "ByNamespace" else ""


def _has(values: frozenset[str], value: str) -> bool:
    return value in values or _ALL in values


def compiled(obj: Object) -> Schema:
    """A FlowSchema as it stands in the store."""
    spec: Object = obj.get("spec") or {}
    return Schema(
        obj["metadata"]["name"],
        obj["metadata"].get("uid", ""),
        (spec.get("priorityLevelConfiguration") or {}).get("name", ""),
        int(spec.get("matchingPrecedence") or 1000),
        (spec.get("distinguisherMethod") or {}).get("type", ""),
        tuple(_rule(each) for each in spec.get("rules") or ()),
    )


def _rule(rule: Object) -> Rule:
    users, groups, namespaces = set(), set(), []
    for subject in rule.get("subjects") or ():
        match subject.get("kind"):
            case "User":
                users.add(subject["user"]["name"])
            case "Group":
                groups.add(subject["group"]["name"])
            case "ServiceAccount":
                account = subject["serviceAccount"]
                if account["name"] == _ALL:
                    namespaces.append(account["namespace"])
                else:
                    users.add(service_account_name(account["namespace"], account["name"]))
    resources = tuple(
        ResourceRule(
            frozenset(each.get("verbs") or ()),
            frozenset(each.get("apiGroups") or ()),
            frozenset(each.get("resources") or ()),
            frozenset(each.get("namespaces") or ()),
            bool(each.get("clusterScope")),
        )
        for each in rule.get("resourceRules") or ()
    )
    paths = tuple(
        PathRule(frozenset(each.get("verbs") or ()), tuple(each.get("nonResourceURLs") or ()))
        for each in rule.get("nonResourceRules") or ()
    )
    return Rule(frozenset(users), frozenset(groups), tuple(namespaces), resources, paths)


def in_order(schemas: Iterable[Schema]) -> tuple[Schema, ...]:
    """The order in which schemas are tried."""
    return tuple(sorted(schemas, key=lambda each: (each.precedence, each.name)))
