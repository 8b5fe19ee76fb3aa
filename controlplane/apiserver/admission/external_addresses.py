"""DenyServiceExternalIPs (off by default): no service gets an external address that it has not already."""

from __future__ import annotations

from typing import Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.objects import status

NAME: Final = "DenyServiceExternalIPs"
RESOURCES: Final = frozenset({("", "services")})
IS_OPTIONAL: Final = True


async def validate(attributes: Attributes) -> None:
    if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource:
        return
    wanted = set((attributes.object.get("spec") or {}).get("externalIPs") or ())
    if wanted - set((attributes.old.get("spec") or {}).get("externalIPs") or ()):
        why = "Use of external IPs is denied by admission control."
        raise status.forbidden(attributes.resource, attributes.name, why)
