"""Which policies an operation meets: constraints of the policy and of its binding, and the parameters that they name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.storage import layout
from controlplane.apiserver.webhooks import selection
from controlplane.apiserver.webhooks.hooks import namespace_labels
from controlplane.objects import selectors
from controlplane.objects.kinds import Resource

if TYPE_CHECKING:
    from controlplane.apiserver.admission.attributes import Attributes

Object = dict[str, Any]

GROUP: Final = "admissionregistration.k8s.io"
POLICIES: Final = Resource(GROUP, "v1", "validatingadmissionpolicies", "ValidatingAdmissionPolicy", namespaced=False)
BINDINGS: Final = Resource(
    GROUP, "v1", "validatingadmissionpolicybindings", "ValidatingAdmissionPolicyBinding", namespaced=False
)


VALIDATING: Final = (POLICIES, BINDINGS)
MUTATING: Final = (
    Resource(GROUP, "v1", "mutatingadmissionpolicies", "MutatingAdmissionPolicy", namespaced=False),
    Resource(GROUP, "v1", "mutatingadmissionpolicybindings", "MutatingAdmissionPolicyBinding", namespaced=False),
)


class NoParameters(Exception):
    """The binding's parameters are not there, and it says that this is a refusal."""


@dataclass(frozen=True, slots=True)
class Met:
    """A policy that an operation meets by a binding."""

    policy: Object
    binding: Object


def _names(rules: list[Object], told: Attributes) -> bool:
    wanted = [rule for rule in rules if not rule.get("resourceNames") or told.name in rule["resourceNames"]]
    return selection.matches(wanted, told.operation, told.resource, told.subresource)


async def _fits(told: Attributes, constraints: Object | None, *, when_absent: bool) -> bool:
    if not constraints:
        return when_absent
    rules = constraints.get("resourceRules")
    if rules and not _names(rules, told):
        return False
    if _names(constraints.get("excludeResourceRules") or [], told):
        return False
    if not selection.object_selects(constraints.get("objectSelector"), told.object, told.old):
        return False
    if constraints.get("namespaceSelector"):
        labels = await namespace_labels(told)
        return labels is None or selection.selects(constraints["namespaceSelector"], labels)
    return True


async def met(told: Attributes, kinds: tuple[Resource, Resource]) -> list[Met]:
    """In the order of the bindings' names; `kinds` are the policies and their bindings.

    Nothing of the admission API itself meets a policy.
    """
    if told.resource.group == GROUP:
        return []
    bindings = await told.services.caches.ready(kinds[1])
    if not len(bindings):
        return []
    policies = await told.services.caches.ready(kinds[0])
    found: list[Met] = []
    for entry in bindings.entries():
        binding = entry.object()
        name = (binding.get("spec") or {}).get("policyName") or ""
        policy = policies.get(layout.key(GROUP, kinds[0].plural, "", name).encode())
        if policy is None:
            continue
        document = policy.object()
        if not await _fits(told, (document.get("spec") or {}).get("matchConstraints"), when_absent=False):
            continue
        if await _fits(told, binding["spec"].get("matchResources"), when_absent=True):
            found.append(Met(document, binding))
    return found


async def parameters(told: Attributes, found: Met) -> list[Object | None]:
    """The parameter objects to evaluate with: [None] for a policy without. Raises NoParameters."""
    kind: Object | None = found.policy["spec"].get("paramKind")
    reference: Object | None = found.binding["spec"].get("paramRef")
    if kind is None or reference is None:
        return [None]
    group, _, version = str(kind.get("apiVersion") or "").rpartition("/")
    info = told.services.scheme.kind(group, version, kind.get("kind") or "")
    objects: list[Object] = []
    if info is not None:
        cache = await told.services.caches.ready(info.resource)
        namespace = (reference.get("namespace") or told.namespace) if info.resource.namespaced else ""
        prefix = layout.scope_prefix(group, info.resource.plural, namespace).encode()
        entries = [entry for entry in cache.entries(prefix) if _is_meant(reference, entry.key, entry.labels())]
        objects = [entry.object() for entry in entries]
    if objects:
        return list(objects)
    if reference.get("parameterNotFoundAction", "Deny") == "Allow":
        return []
    raise NoParameters("no params found for policy binding with `Deny` parameterNotFoundAction")


def _is_meant(reference: Object, key: bytes, labels: Any) -> bool:
    if reference.get("name"):
        return bool(key.decode().rsplit("/", 1)[1] == reference["name"])
    return bool(selectors.from_selector(reference.get("selector") or {}).matches(labels))
