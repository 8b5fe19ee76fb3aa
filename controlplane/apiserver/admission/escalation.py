"""Nobody grants what he has not: roles and bindings may only carry permissions that their author holds himself.

Kubernetes does this in the storage of the RBAC kinds; the verbs `escalate` (on a role) and `bind` (on the role that a binding
names) lift it.
"""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.authz import attributes as authz
from controlplane.apiserver.authz.rules import Rule
from controlplane.objects import status
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES

NAME: Final = "RBACEscalation"
IS_INTERNAL: Final = True
_GROUP: Final = ROLES.group
RESOURCES: Final = frozenset(
    (_GROUP, each.plural) for each in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS)
)


def _shown(rule: Rule) -> str:
    """A rule as Kubernetes' message has it."""

    def listed(values: Any) -> str:
        return "[" + " ".join(f'"{value}"' for value in sorted(values)) + "]"

    if rule.paths:
        return f"{{NonResourceURLs:{listed(rule.paths)}, Verbs:{listed(rule.verbs)}}}"
    names = f", ResourceNames:{listed(rule.names)}" if rule.names else ""
    return f"{{APIGroups:{listed(rule.groups)}, Resources:{listed(rule.resources)}{names}, Verbs:{listed(rule.verbs)}}}"


def covers(held: list[Rule], wanted: Rule) -> bool:
    """Whether the held rules together allow everything that the wanted one does; each single permission is looked up."""
    if wanted.paths:
        return all(
            any(_covers_path(rule, verb, path) for rule in held) for verb in wanted.verbs for path in wanted.paths
        )
    names = wanted.names or {""}
    return all(
        any(_covers_resource(rule, verb, group, resource, name) for rule in held)
        for verb in wanted.verbs
        for group in wanted.groups
        for resource in wanted.resources
        for name in names
    )


def _covers_path(rule: Rule, verb: str, path: str) -> bool:
    if verb not in rule.verbs and "*" not in rule.verbs:
        return False
    return any(
        pattern in ("*", path) or (pattern.endswith("*") and path.startswith(pattern[:-1])) for pattern in rule.paths
    )


def _covers_resource(rule: Rule, verb: str, group: str, resource: str, name: str) -> bool:
    if rule.names and name not in rule.names:
        return False
    if (verb not in rule.verbs and "*" not in rule.verbs) or (group not in rule.groups and "*" not in rule.groups):
        return False
    if resource in rule.resources or "*" in rule.resources:
        return True
    _, slash, subresource = resource.partition("/")
    return bool(slash) and f"*/{subresource}" in rule.resources


async def _granted(told: Attributes) -> tuple[list[Rule], bool]:
    """(the rules that the object would grant, whether a special verb lifts the check)."""
    authorizer, obj = told.services.authorizer, told.object
    name = obj["metadata"].get("name", "")
    if told.resource in (ROLES, CLUSTER_ROLES):
        if told.old.get("rules") == obj.get("rules") and told.old.get("aggregationRule") == obj.get("aggregationRule"):
            return [], True
        asked = authz.Attributes("escalate", _GROUP, "v1", told.resource.plural, "", name, told.namespace)
        rules = [Rule.of(each) for each in obj.get("rules") or ()]
        return rules, await authorizer.allows(told.user, asked)
    reference: dict[str, Any] = obj.get("roleRef") or {}
    if told.old.get("subjects") == obj.get("subjects") and told.old.get("roleRef") == reference:
        return [], True
    is_cluster_role = reference.get("kind") == "ClusterRole"
    plural = (CLUSTER_ROLES if is_cluster_role else ROLES).plural
    asked = authz.Attributes("bind", _GROUP, "v1", plural, "", reference.get("name", ""), told.namespace)
    rules = await authorizer.rules_of_role("" if is_cluster_role else told.namespace, reference.get("name", ""))
    return rules, await authorizer.allows(told.user, asked)


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE"):
        return
    if attributes.resource not in (ROLES, CLUSTER_ROLES, ROLE_BINDINGS, CLUSTER_ROLE_BINDINGS):
        return
    authorizer, user = attributes.services.authorizer, attributes.user
    if authorizer.is_master(user):
        return
    granted, lifted = await _granted(attributes)
    if lifted:
        return
    held = await authorizer.rules(user, attributes.namespace)
    missing = [rule for rule in granted if not covers(held, rule)]
    if missing:
        groups = " ".join(f'"{group}"' for group in user.groups)
        why = (
            f'user "{user.name}" (groups=[{groups}]) is attempting to grant RBAC permissions not currently held:\n'
            + "\n".join(_shown(rule) for rule in missing)
        )
        raise status.forbidden(attributes.resource, attributes.object["metadata"].get("name", ""), why)
