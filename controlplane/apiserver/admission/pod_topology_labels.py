"""PodTopologyLabels: a pod has the zone and the region of its node as labels, so that its containers can be told."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage import layout
from controlplane.apiserver.storage.codec import Object
from controlplane.objects.kinds import NODES, PODS

NAME: Final = "PodTopologyLabels"
IS_OF_ALL: Final = True  # a Binding brings them
RESOURCES: Final = frozenset({("", "pods")})
_LABELS: Final = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation != "CREATE" or not attributes.is_group_resource(PODS):
        return obj
    if attributes.subresource == "binding":
        node = (obj.get("target") or {}).get("name")
    elif not attributes.subresource:
        node = (obj.get("spec") or {}).get("nodeName")
    else:
        return obj
    wanted = await _labels(attributes, node) if node else {}
    if not wanted:
        return obj
    metadata = obj["metadata"]
    return {**obj, "metadata": {**metadata, "labels": {**(metadata.get("labels") or {}), **wanted}}}


async def _labels(attributes: Attributes, name: str) -> dict[str, str]:
    """Those of a node; none of one that is not known: a pod may be bound to it all the same."""
    cache = await attributes.services.caches.ready(NODES)
    entry = cache.get(layout.key("", NODES.plural, "", name).encode())
    labels = entry.labels() if entry is not None else {}
    return {key: labels[key] for key in _LABELS if labels.get(key)}
