"""OwnerReferencesPermissionEnforcement (off by default): who gives an object another owner may delete it; who makes it block
the owner's deletion may set the owner's finalizers."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.authz import attributes as authorization
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status

NAME: Final = "OwnerReferencesPermissionEnforcement"
IS_OPTIONAL: Final = True


def _references(obj: Object) -> list[Object]:
    found: list[Object] = (obj.get("metadata") or {}).get("ownerReferences") or []
    return found


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE"):
        return
    new, old = _references(attributes.object), _references(attributes.old)
    if new == old:
        return
    if attributes.operation == "UPDATE" and not await _may_delete(attributes):
        why = "cannot set an ownerRef on a resource you can't delete"
        raise status.forbidden(attributes.resource, attributes.name, why)
    blocking = {each.get("uid") for each in old if each.get("blockOwnerDeletion")}
    for reference in new:
        if reference.get("blockOwnerDeletion") and reference.get("uid") not in blocking:
            await _require_finalizers(attributes, reference)


async def _may_delete(attributes: Attributes) -> bool:
    resource = attributes.resource
    asked = authorization.Attributes(
        "delete", resource.group, resource.version, resource.plural, "", attributes.name, attributes.namespace
    )
    return (await attributes.services.authorizer.decide(attributes.user, asked)).allowed


async def _require_finalizers(attributes: Attributes, reference: Object) -> None:
    group, _, version = str(reference.get("apiVersion") or "").rpartition("/")
    kind, name = str(reference.get("kind") or ""), str(reference.get("name") or "")
    info = attributes.services.scheme.kind(group, version, kind)
    head = "cannot set blockOwnerDeletion"
    if info is None:
        why = f"{head} in this case because cannot find RESTMapping for APIVersion {reference.get('apiVersion')} Kind {kind}"
        raise status.forbidden(attributes.resource, attributes.name, why)
    namespace = attributes.namespace if info.resource.namespaced else ""
    asked = authorization.Attributes("update", group, version, info.resource.plural, "finalizers", name, namespace)
    if not (await attributes.services.authorizer.decide(attributes.user, asked)).allowed:
        why = f"{head} if an ownerReference refers to a resource you can't set finalizers on"
        raise status.forbidden(attributes.resource, attributes.name, why)
