"""PURE: what a pod needs to be read by its node: secrets, configmaps, claims, its service account.

A field is followed where Kubernetes' own visitors follow it: containers of all three kinds, and every volume source.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from controlplane.apiserver.storage.codec import Object

CONFIG_MAP: Final = "configmaps"
SECRET: Final = "secrets"
CLAIM: Final = "persistentvolumeclaims"
RESOURCE_CLAIM: Final = "resourceclaims"
ACCOUNT: Final = "serviceaccounts"

Reference = tuple[str, str]  # (plural, name), in the pod's namespace

_MIRROR: Final = "kubernetes.io/config.mirror"
_CONTAINERS: Final = ("initContainers", "containers", "ephemeralContainers")
# Volume sources that name a secret of their own, and the field that does.
_SECRET_SOURCES: Final = (
    ("azureFile", "secretName"),
    ("cephfs", "secretRef"),
    ("cinder", "secretRef"),
    ("csi", "nodePublishSecretRef"),
    ("flexVolume", "secretRef"),
    ("iscsi", "secretRef"),
    ("rbd", "secretRef"),
    ("scaleIO", "secretRef"),
    ("secret", "secretName"),
    ("storageos", "secretRef"),
)


def _name(value: Any) -> str:
    if isinstance(value, dict):
        value = value.get("name")
    return value if isinstance(value, str) else ""


def _of_container(container: Object) -> Iterator[Reference]:
    for variable in container.get("env") or ():
        source = variable.get("valueFrom") or {}
        yield SECRET, _name(source.get("secretKeyRef"))
        yield CONFIG_MAP, _name(source.get("configMapKeyRef"))
    for source in container.get("envFrom") or ():
        yield SECRET, _name(source.get("secretRef"))
        yield CONFIG_MAP, _name(source.get("configMapRef"))


def _of_volume(pod_name: str, volume: Object) -> Iterator[Reference]:
    for kind, field in _SECRET_SOURCES:
        yield SECRET, _name((volume.get(kind) or {}).get(field))
    yield CONFIG_MAP, _name(volume.get("configMap"))
    yield CLAIM, _name((volume.get("persistentVolumeClaim") or {}).get("claimName"))
    if volume.get("ephemeral") is not None:
        yield CLAIM, f"{pod_name}-{volume.get('name')}"
    for source in (volume.get("projected") or {}).get("sources") or ():
        yield SECRET, _name(source.get("secret"))
        yield CONFIG_MAP, _name(source.get("configMap"))


def _all(pod: Object) -> Iterator[Reference]:
    spec: Object = pod.get("spec") or {}
    name = pod["metadata"]["name"]
    yield ACCOUNT, _name(spec.get("serviceAccountName"))
    for secret in spec.get("imagePullSecrets") or ():
        yield SECRET, _name(secret)
    for field in _CONTAINERS:
        for container in spec.get(field) or ():
            yield from _of_container(container)
    for volume in spec.get("volumes") or ():
        yield from _of_volume(name, volume)
    for claim in spec.get("resourceClaims") or ():
        yield RESOURCE_CLAIM, _name(claim.get("resourceClaimName"))
    for claim in (pod.get("status") or {}).get("resourceClaimStatuses") or ():
        yield RESOURCE_CLAIM, _name(claim.get("resourceClaimName"))


def of_pod(pod: Object) -> frozenset[Reference]:
    """What the pod refers to; nothing for a mirror pod, which its node made up itself."""
    if _MIRROR in (pod["metadata"].get("annotations") or {}):
        return frozenset()
    return frozenset((kind, name) for kind, name in _all(pod) if name)


def of_volume(volume: Object) -> frozenset[tuple[str, str]]:
    """(namespace, name) of the secrets that a PersistentVolume's node needs."""
    spec: Object = volume.get("spec") or {}
    claim: Object = spec.get("claimRef") or {}
    own = claim.get("namespace", "")
    found: set[tuple[str, str]] = set()
    for kind, field in (*_SECRET_SOURCES, ("csi", "nodeStageSecretRef"), ("csi", "nodeExpandSecretRef")):
        source: Object = spec.get(kind) or {}
        reference = source.get(field)
        namespace = reference.get("namespace") if isinstance(reference, dict) else source.get("secretNamespace")
        if _name(reference):
            found.add((namespace or own, _name(reference)))
    return frozenset(found)
