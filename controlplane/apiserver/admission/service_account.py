"""ServiceAccount: every pod runs as a service account and finds its token, the root CA and its namespace in a volume."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import PODS, SERVICE_ACCOUNTS

NAME: Final = "ServiceAccount"
RESOURCES: Final = frozenset({("", "pods")})
MOUNT_PATH: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
VOLUME_PREFIX: Final = "kube-api-access-"
TOKEN_SECONDS: Final = 3607
_MIRROR: Final = "kubernetes.io/config.mirror"


async def _account(attributes: Attributes, name: str) -> Object | None:
    key = layout.key("", SERVICE_ACCOUNTS.plural, attributes.namespace, name)
    cache = await attributes.services.caches.ready(SERVICE_ACCOUNTS)
    entry = cache.get(key.encode()) or await attributes.services.store.get(key)
    return entry.object() if entry is not None else None


def token_volume(name: str) -> Object:
    """The projected volume: a bound token, the cluster's root certificate, the namespace."""
    namespace = {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
    sources = [
        {"serviceAccountToken": {"expirationSeconds": TOKEN_SECONDS, "path": "token"}},
        {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
        {"downwardAPI": {"items": [namespace]}},
    ]
    return {"name": name, "projected": {"sources": sources, "defaultMode": 420}}


def _mounted(containers: list[Object] | None, volume: str) -> tuple[list[Object], bool]:
    """The containers with the mount added where the path is free, and whether any needed it."""
    result, needed = [], False
    for container in containers or []:
        mounts = container.get("volumeMounts") or []
        if all(mount.get("mountPath") != MOUNT_PATH for mount in mounts):
            mount = {"name": volume, "readOnly": True, "mountPath": MOUNT_PATH}
            container, needed = {**container, "volumeMounts": [*mounts, mount]}, True
        result.append(container)
    return result, needed


def with_token(spec: Object, suffix: str) -> Object:
    """The pod spec with the token volume mounted into each container that has nothing at its place."""
    volumes = list(spec.get("volumes") or [])
    present = next((each["name"] for each in volumes if each.get("name", "").startswith(VOLUME_PREFIX)), None)
    name = present or f"{VOLUME_PREFIX}{suffix}"
    changed: dict[str, Any] = dict(spec)
    needed = False
    for field in ("initContainers", "containers"):
        if spec.get(field):
            changed[field], more = _mounted(spec[field], name)
            needed = needed or more
    if not needed:
        return spec
    if present is None:
        changed["volumes"] = [*volumes, token_volume(name)]
    return changed


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if not attributes.is_creation_of_pod() or _MIRROR in (obj["metadata"].get("annotations") or {}):
        return obj
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    name = spec.get("serviceAccountName") or "default"
    account = await _account(attributes, name)
    if account is None:
        why = (
            f"error looking up service account {attributes.namespace}/{name}: serviceaccount {_quoted(name)} not found"
        )
        raise status.forbidden(PODS, attributes.name, why)
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    automount = spec.get("automountServiceAccountToken", account.get("automountServiceAccountToken"))
    if automount is not False:
        spec = with_token(spec, attributes.services.environment.name_suffix())
    if not spec.get("imagePullSecrets") and account.get("imagePullSecrets"):
        spec["imagePullSecrets"] = account["imagePullSecrets"]
    return {**obj, "spec": spec}


def _quoted(name: str) -> str:
    return status.quote(name)
