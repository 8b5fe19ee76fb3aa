"""Policy (audit.k8s.io/v1): rules in order, the first that matches a request says how much of it is written."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

import yaml

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.request import Path, RequestInfo

Object = dict[str, Any]

API_VERSION: Final = "audit.k8s.io/v1"
LEVELS: Final = ("None", "Metadata", "Request", "RequestResponse")
STAGES: Final = ("RequestReceived", "ResponseStarted", "ResponseComplete", "Panic")


@dataclass(frozen=True, slots=True)
class Verdict:
    """How much of a request is written (an index of LEVELS; 0: nothing), and at which stages not."""

    level: int
    omitted_stages: frozenset[str] = frozenset()
    omits_managed_fields: bool = False


NOTHING: Final = Verdict(0)


@dataclass(frozen=True, slots=True)
class Group:
    """Resources of one API group, of any or of certain names."""

    group: str
    resources: tuple[str, ...]
    names: tuple[str, ...]

    def matches(self, path: Path) -> bool:
        if self.group != path.group:
            return False
        if not self.resources:
            return True
        if self.names and path.name not in self.names:
            return False
        return any(_is_named(each, path) for each in self.resources)


def _is_named(pattern: str, path: Path) -> bool:
    """`*`, `pods`, `pods/log`, `pods/*`, `*/status`."""
    whole = f"{path.resource}/{path.subresource}" if path.subresource else path.resource
    if pattern in ("*", whole):
        return True
    resource, slash, subresource = pattern.partition("/")
    if not slash or not (resource == "*" or subresource == "*"):
        return False
    return resource in ("*", path.resource) and (
        subresource == path.subresource if subresource != "*" else bool(path.subresource) or resource != "*"
    )


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; empty fields match everything."""

    verdict: Verdict
    users: frozenset[str]
    groups: frozenset[str]
    verbs: frozenset[str]
    resources: tuple[Group, ...]
    namespaces: frozenset[str]
    paths: tuple[str, ...]

    def matches(self, user: User, info: RequestInfo) -> bool:
        if self.users and user.name not in self.users:
            return False
        if self.groups and self.groups.isdisjoint(user.groups):
            return False
        if self.verbs and info.verb not in self.verbs:
            return False
        path = info.path
        if self.namespaces or self.resources:
            if not info.is_resource or (self.namespaces and path.namespace not in self.namespaces):
                return False
            return not self.resources or any(each.matches(path) for each in self.resources)
        return not self.paths or (not info.is_resource and any(_covers(each, path.path) for each in self.paths))


def _covers(pattern: str, path: str) -> bool:
    if pattern in ("*", path):
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])


@dataclass(frozen=True, slots=True)
class Policy:
    """All rules; what none matches is not written."""

    rules: tuple[Rule, ...]

    def of(self, user: User, info: RequestInfo) -> Verdict:
        for rule in self.rules:
            if rule.matches(user, info):
                return rule.verdict
        return NOTHING


def parse(text: str | bytes) -> Policy:
    """The policy in a file; raises ValueError with the field that is wrong."""
    try:
        document: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"the audit policy cannot be read: {error}") from None
    if not isinstance(document, dict) or document.get("apiVersion") != API_VERSION or document.get("kind") != "Policy":
        raise ValueError(f"the audit policy must be of {API_VERSION}, Kind=Policy")
    rules = document.get("rules")
    if not isinstance(rules, list) or not rules:
        raise ValueError("the audit policy has no rules")
    return Policy(tuple(_rule(document, each, f"rules[{index}]") for index, each in enumerate(rules)))


def _rule(document: Object, rule: Any, where: str) -> Rule:
    if not isinstance(rule, dict):
        raise ValueError(f"{where}: Invalid value: must be an object")
    level = rule.get("level")
    if level not in LEVELS:
        raise ValueError(f'{where}.level: Unsupported value: "{level}": supported values: {", ".join(LEVELS)}')
    omitted = frozenset((*(document.get("omitStages") or ()), *(rule.get("omitStages") or ())))
    for stage in sorted(omitted - set(STAGES)):
        raise ValueError(f'{where}.omitStages: Invalid value: "{stage}": allowed stages are {", ".join(STAGES)}')
    paths = tuple(rule.get("nonResourceURLs") or ())
    if paths and (rule.get("resources") or rule.get("namespaces")):
        raise ValueError(
            f"{where}.nonResourceURLs: Invalid value: rules cannot apply to both regular resources and URLs"
        )
    managed = rule.get("omitManagedFields")
    verdict = Verdict(
        LEVELS.index(level), omitted, bool(document.get("omitManagedFields") if managed is None else managed)
    )
    return Rule(
        verdict,
        _words(rule.get("users")),
        _words(rule.get("userGroups")),
        _words(rule.get("verbs")),
        tuple(
            Group(
                str(each.get("group") or ""), tuple(each.get("resources") or ()), tuple(each.get("resourceNames") or ())
            )
            for each in rule.get("resources") or ()
        ),
        _words(rule.get("namespaces")),
        paths,
    )


def _words(values: Iterable[Any] | None) -> frozenset[str]:
    return frozenset(map(str, values or ()))
