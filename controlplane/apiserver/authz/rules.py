"""One rule of a role, compiled to sets."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from controlplane.apiserver.authz.attributes import Attributes

_EVERYTHING = "*"


@dataclass(frozen=True, slots=True)
class Rule:
    """Verbs on resources of groups (perhaps only named ones), or on paths."""

    verbs: frozenset[str]
    groups: frozenset[str] = frozenset()
    resources: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, rule: dict[str, Any]) -> Rule:
        return cls(
            frozenset(rule.get("verbs") or ()),
            frozenset(rule.get("apiGroups") or ()),
            frozenset(rule.get("resources") or ()),
            frozenset(rule.get("resourceNames") or ()),
            tuple(rule.get("nonResourceURLs") or ()),
        )

    def allows(self, asked: Attributes) -> bool:
        if asked.verb not in self.verbs and _EVERYTHING not in self.verbs:
            return False
        if asked.path:
            return any(_path_matches(pattern, asked.path) for pattern in self.paths)
        if asked.group not in self.groups and _EVERYTHING not in self.groups:
            return False
        if self.names and asked.name not in self.names:
            return False
        resources = self.resources
        if asked.full_resource in resources or _EVERYTHING in resources:
            return True
        return bool(asked.subresource) and f"*/{asked.subresource}" in resources

    def document(self) -> dict[str, Any]:
        """As SelfSubjectRulesReview tells it."""
        if self.paths:
            return {"verbs": sorted(self.verbs), "nonResourceURLs": list(self.paths)}
        document: dict[str, Any] = {
            "verbs": sorted(self.verbs),
            "apiGroups": sorted(self.groups),
            "resources": sorted(self.resources),
        }
        if self.names:
            document["resourceNames"] = sorted(self.names)
        return document


def _path_matches(pattern: str, path: str) -> bool:
    if pattern in (_EVERYTHING, path):
        return True
    return pattern.endswith("*") and path.startswith(pattern[:-1])
