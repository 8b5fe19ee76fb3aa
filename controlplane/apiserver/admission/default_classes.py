"""How a default class is found: the newest of those that are annotated as default, by name where they are equally old."""

from __future__ import annotations

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import Resource


async def default_of(attributes: Attributes, classes: Resource, annotations: tuple[str, ...]) -> Object | None:
    """The default class among the objects of a resource; None when there is none."""
    cache = await attributes.services.caches.ready(classes)
    if not len(cache):
        return None
    found = [
        obj
        for obj in (entry.object() for entry in cache.entries())
        if any((obj["metadata"].get("annotations") or {}).get(each) == "true" for each in annotations)
    ]
    found.sort(key=lambda obj: str(obj["metadata"]["name"]))
    found.sort(key=lambda obj: str(obj["metadata"].get("creationTimestamp") or ""), reverse=True)
    return found[0] if found else None
