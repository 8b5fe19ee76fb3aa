"""LimitPodHardAntiAffinityTopology (off by default): pods keep others off their node at most, not off a whole zone."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.objects import status
from controlplane.objects.kinds import PODS

NAME: Final = "LimitPodHardAntiAffinityTopology"
RESOURCES: Final = frozenset({("", "pods")})
IS_OPTIONAL: Final = True
_HOSTNAME: Final = "kubernetes.io/hostname"


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
        return
    affinity: dict[str, Any] = (attributes.object.get("spec") or {}).get("affinity") or {}
    terms = (affinity.get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
    for term in terms:
        if term.get("topologyKey") != _HOSTNAME:
            why = (
                "affinity.PodAntiAffinity.RequiredDuringScheduling has TopologyKey "
                f"{term.get('topologyKey', '')} but only key {_HOSTNAME} is allowed"
            )
            raise status.forbidden(PODS, attributes.name, why)
