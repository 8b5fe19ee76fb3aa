"""ConversionReview: custom objects from version to version by the webhook of their definition."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.webhooks.clients import CallFailed
from controlplane.objects import status

if TYPE_CHECKING:
    from controlplane.apiserver.crd.definition import Definition
    from controlplane.apiserver.services import Services

Object = dict[str, Any]

TIMEOUT_SECONDS: Final = 30.0
_KEPT: Final = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp", "deletionTimestamp", "generation")


async def convert(services: Services, definition: Definition, objects: list[Object], wanted: str) -> list[Object]:
    """The objects in the wanted version, in the same order; raises 500."""
    uid = services.environment.uid()
    asked = {"uid": uid, "desiredAPIVersion": wanted, "objects": objects}
    review = {"kind": "ConversionReview", "apiVersion": "apiextensions.k8s.io/v1", "request": asked}
    config = (definition.conversion.get("webhook") or {}).get("clientConfig") or {}
    head = f"conversion webhook for {objects[0]['apiVersion']}, Kind={definition.kind} failed"
    try:
        answer = await services.webhooks.call(services, config, review, TIMEOUT_SECONDS)
    except CallFailed as error:
        raise status.internal_error(f"{head}: {error}") from None
    response: Object = answer.get("response") or {}
    if response.get("uid") != uid:
        raise status.internal_error(f"{head}: the answer is for another request")
    result: Object = response.get("result") or {}
    if result.get("status") != "Success":
        raise status.internal_error(f"{head}: {result.get('message') or 'no reason was given'}")
    converted: list[Object] = response.get("convertedObjects") or []
    if len(converted) != len(objects):
        raise status.internal_error(f"{head}: expected {len(objects)} converted objects, got {len(converted)}")
    return [_checked(head, old, new, wanted) for old, new in zip(objects, converted)]


def _checked(head: str, old: Object, new: Object, wanted: str) -> Object:
    """A converted object; of its metadata only labels and annotations may be other than before."""
    if new.get("apiVersion") != wanted or new.get("kind") != old["kind"]:
        raise status.internal_error(f"{head}: the converted object is not of {wanted}, Kind={old['kind']}")
    before, after = old["metadata"], new.get("metadata") or {}
    if any(after.get(name) != before.get(name) for name in _KEPT if name in before):
        raise status.internal_error(f"{head}: the converted object has other metadata")
    metadata = {name: value for name, value in before.items() if name not in ("labels", "annotations")}
    for name in ("labels", "annotations"):
        if after.get(name):
            metadata[name] = after[name]
    return {**new, "metadata": metadata}
