"""NodeRestriction: a node changes its own Node, its own pods' status, its own lease, and asks tokens for its own pods.

The Node authorizer says which kinds a node may touch; this looks into the objects. A node creates mirror pods only, which
refer to nothing; it leaves its taints alone once it is registered, and sets no label by which others keep it away.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.authn.user import NODE_PREFIX, node_name_of
from controlplane.apiserver.authz import references
from controlplane.apiserver.authz.attributes import Attributes as AccessAttributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import certificates, status
from controlplane.objects.kinds import NODES, PODS
from controlplane.objects.status import ApiError

NAME: Final = "NodeRestriction"
MIRROR: Final = "kubernetes.io/config.mirror"
LEASE_NAMESPACE: Final = "kube-node-lease"
_KUBELET_LABELS: Final = frozenset(
    {
        "kubernetes.io/hostname",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "node.kubernetes.io/instance-type",
        "beta.kubernetes.io/instance-type",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
    }
)
_KUBELET_DOMAINS: Final = ("kubelet.kubernetes.io", "node.kubernetes.io")
_RESTRICTED: Final = "node-restriction.kubernetes.io"
_REFERENCES: Final = (
    (references.ACCOUNT, "a service account"),
    (references.SECRET, "secrets"),
    (references.CONFIG_MAP, "configmaps"),
    (references.CLAIM, "persistentvolumeclaims"),
    (references.RESOURCE_CLAIM, "resourceclaims"),
)


async def validate(attributes: Attributes) -> None:
    node = node_name_of(attributes.user)
    if node is None:
        return
    if not node:
        raise _refused(attributes, f'could not determine node from user "{attributes.user.name}"')
    handler = _HANDLERS.get((attributes.resource.group, attributes.resource.plural))
    if handler is not None:
        await handler(attributes, node)


def _refused(attributes: Attributes, why: str) -> ApiError:
    return status.forbidden(attributes.resource, attributes.name, why)


# Pods


async def _pods(told: Attributes, node: str) -> None:
    if told.subresource == "status":
        await _pod_status(told, node)
    elif told.subresource == "eviction":
        if (told.old.get("spec") or {}).get("nodeName") != node:
            raise _refused(told, f"node {node} can only evict pods with spec.nodeName set to itself")
    elif told.subresource:
        why = f"unexpected pod subresource {status.quote(told.subresource)}, only 'status' and 'eviction' are allowed"
        raise _refused(told, why)
    elif told.operation == "CREATE":
        await _mirror_pod(told, node)
    elif told.operation == "DELETE":
        if (told.old.get("spec") or {}).get("nodeName") != node:
            raise _refused(told, f'node "{node}" can only delete pods with spec.nodeName set to itself')
    else:
        why = f'unexpected operation "{told.operation}", node "{node}" can only create and delete mirror pods'
        raise _refused(told, why)


async def _pod_status(told: Attributes, node: str) -> None:
    if told.operation != "UPDATE":
        raise _refused(told, f'unexpected operation "{told.operation}"')
    if (told.old.get("spec") or {}).get("nodeName") != node:
        raise _refused(told, f'node "{node}" can only update pod status for pods with spec.nodeName set to itself')
    if (told.old["metadata"].get("labels") or {}) != (told.object["metadata"].get("labels") or {}):
        raise _refused(told, f'node "{node}" cannot update labels through pod status')
    old, new = told.old.get("status") or {}, told.object.get("status") or {}
    if (old.get("resourceClaimStatuses") or []) != (new.get("resourceClaimStatuses") or []):
        raise _refused(told, f'node "{node}" cannot update resource claim statuses')


async def _mirror_pod(told: Attributes, node: str) -> None:
    pod, shown = told.object, f'node "{node}"'
    metadata: Object = pod["metadata"]
    if MIRROR not in (metadata.get("annotations") or {}):
        why = f'pod does not have "{MIRROR}" annotation, {shown} can only create mirror pods'
        raise _refused(told, why)
    if (pod.get("spec") or {}).get("nodeName") != node:
        raise _refused(told, f"{shown} can only create pods with spec.nodeName set to itself")
    owners: list[Object] = metadata.get("ownerReferences") or []
    if len(owners) != 1:
        raise _refused(told, f"{shown} can only create pods with an owner reference set to itself")
    owner = owners[0]
    if (owner.get("apiVersion"), owner.get("kind"), owner.get("name")) != ("v1", "Node", node):
        raise _refused(told, f"{shown} can only create pods with an owner reference set to itself")
    if owner.get("controller") is not True:
        raise _refused(told, f"{shown} can only create pods with a controller owner reference set to itself")
    if owner.get("blockOwnerDeletion"):
        raise _refused(told, f"{shown} must not set blockOwnerDeletion on an owner reference")
    entry = await told.services.store.get(layout.key("", NODES.plural, "", node))
    if entry is None:
        raise status.not_found(NODES, node)
    uid = entry.object()["metadata"]["uid"]
    if owner.get("uid") != uid:
        raise _refused(told, f"node {node} UID mismatch: expected {uid} got {owner.get('uid')}")
    bare = {**pod, "metadata": {**metadata, "name": metadata.get("name", ""), "annotations": {}}}
    kinds = {kind for kind, _ in references.of_pod(bare)}
    for kind, words in _REFERENCES:
        if kind in kinds:
            raise _refused(told, f"{shown} can not create pods that reference {words}")
    for volume in (pod.get("spec") or {}).get("volumes") or ():
        if any("serviceAccountToken" in source for source in (volume.get("projected") or {}).get("sources") or ()):
            raise _refused(told, f"{shown} can not create pods that reference a service account")


# Nodes


async def _nodes(told: Attributes, node: str) -> None:
    if told.name != node:
        raise _refused(told, f'node "{node}" is not allowed to modify node {status.quote(told.name)}')
    if told.operation not in ("CREATE", "UPDATE"):
        return
    before, after = told.old.get("metadata") or {}, told.object["metadata"]
    forbidden = forbidden_labels(before.get("labels") or {}, after.get("labels") or {})
    if told.operation == "CREATE":
        if forbidden:
            why = f'node "{node}" is not allowed to set the following labels: {", ".join(forbidden)}'
            raise _refused(told, why)
        return
    if ((told.old.get("spec") or {}).get("taints") or []) != ((told.object.get("spec") or {}).get("taints") or []):
        raise _refused(told, f'node "{node}" is not allowed to modify taints')
    if (before.get("ownerReferences") or []) != (after.get("ownerReferences") or []):
        raise _refused(told, f'node "{node}" is not allowed to modify ownerReferences')
    if forbidden:
        raise _refused(told, f'node "{node}" is not allowed to modify labels: {", ".join(forbidden)}')


def _within(domain: str, parents: tuple[str, ...]) -> bool:
    return any(domain == parent or domain.endswith(f".{parent}") for parent in parents)


def forbidden_labels(old: dict[str, str], new: dict[str, str]) -> list[str]:
    """The labels that differ and that no node may set, sorted: Kubernetes' own, but for those that nodes report."""
    found = []
    for key in old.keys() | new.keys():
        if old.get(key) == new.get(key) and (key in old) == (key in new):
            continue
        domain = key.partition("/")[0] if "/" in key else ""
        reported = key in _KUBELET_LABELS or _within(domain, _KUBELET_DOMAINS)
        if _within(domain, (_RESTRICTED,)) or (_within(domain, ("kubernetes.io", "k8s.io")) and not reported):
            found.append(key)
    return sorted(found)


# What else is a node's own


async def _accounts(told: Attributes, node: str) -> None:
    if told.operation != "CREATE" or told.subresource != "token":
        return
    reference: dict[str, Any] = (told.object.get("spec") or {}).get("boundObjectRef") or {}
    if reference.get("kind") != "Pod" or reference.get("apiVersion", "v1") != "v1" or not reference.get("name"):
        raise _refused(told, "node requested token not bound to a pod")
    if not reference.get("uid"):
        raise _refused(told, "node requested token with a pod binding without a uid")
    entry = await told.services.store.get(layout.key("", PODS.plural, told.namespace, reference["name"]))
    if entry is None:
        raise status.not_found(PODS, reference["name"])
    pod = entry.object()
    if pod["metadata"].get("uid") != reference["uid"]:
        why = (
            f"the UID in the bound object reference ({reference['uid']}) does not match the UID in record. "
            "The object might have been deleted and then recreated"
        )
        raise status.conflict(PODS, reference["name"], why)
    spec: Object = pod.get("spec") or {}
    if spec.get("nodeName") != node:
        raise _refused(told, "node requested token bound to a pod scheduled on a different node")
    if (spec.get("serviceAccountName") or "default") != told.name:
        raise _refused(told, "node requested token for a service account that its pod does not run as")
    await _audience(told, spec)


async def _audience(told: Attributes, pod_spec: Object) -> None:
    """A token is for whom the pod's volumes name, or for whom RBAC lets the node ask."""
    asked = (told.object.get("spec") or {}).get("audiences") or [""]
    if len(asked) > 1:
        raise _refused(told, "node may only request 0 or 1 audiences")
    sources = [
        source["serviceAccountToken"].get("audience") or ""
        for volume in pod_spec.get("volumes") or ()
        for source in (volume.get("projected") or {}).get("sources") or ()
        if source.get("serviceAccountToken")
    ]
    if asked[0] in sources:
        return
    right = AccessAttributes(
        "request-serviceaccounts-token-audience", "", "v1", asked[0], "", told.name, told.namespace
    )
    if not await told.services.authorizer.allows(told.user, right):
        why = f'audience "{asked[0]}" not found in pod spec volume, {told.user.name} is not authorized to request tokens for it'
        raise _refused(told, why)


async def _leases(told: Attributes, node: str) -> None:
    if told.namespace != LEASE_NAMESPACE:
        raise _refused(told, f'can only access leases in the "{LEASE_NAMESPACE}" system namespace')
    if told.name != node:
        raise _refused(told, "can only access node lease with the same name as the requesting node")


async def _csi_nodes(told: Attributes, node: str) -> None:
    if told.name != node:
        raise _refused(told, "can only access CSINode with the same name as the requesting node")


async def _slices(told: Attributes, node: str) -> None:
    for each in (told.object, told.old):
        if each and (each.get("spec") or {}).get("nodeName") != node:
            raise _refused(
                told, "can only create, change or delete ResourceSlices with nodeName set to the requesting node"
            )


async def _requests(told: Attributes, node: str) -> None:
    spec: dict[str, Any] = told.object.get("spec") or {}
    if told.operation != "CREATE" or spec.get("signerName") not in certificates.KUBELET_SIGNERS:
        return
    parsed = certificates.parsed_request(spec.get("request"))
    if parsed is None or parsed.common_name != f"{NODE_PREFIX}{node}":
        raise _refused(told, f"can only create a node CSR with CN={NODE_PREFIX}{node}")


_HANDLERS: Final[dict[tuple[str, str], Callable[[Attributes, str], Awaitable[None]]]] = {
    ("", "pods"): _pods,
    ("", "nodes"): _nodes,
    ("", "serviceaccounts"): _accounts,
    ("coordination.k8s.io", "leases"): _leases,
    ("storage.k8s.io", "csinodes"): _csi_nodes,
    ("resource.k8s.io", "resourceslices"): _slices,
    ("certificates.k8s.io", "certificatesigningrequests"): _requests,
}
