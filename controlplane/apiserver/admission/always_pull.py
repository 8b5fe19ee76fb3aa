"""AlwaysPullImages (off by default): images are pulled again for every container, so that who may not pull may not run."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.storage.codec import Object

NAME: Final = "AlwaysPullImages"
RESOURCES: Final = frozenset({("", "pods")})
IS_OPTIONAL: Final = True


async def mutate(attributes: Attributes) -> Object:
    obj = attributes.object
    if attributes.operation not in ("CREATE", "UPDATE") or attributes.subresource not in ("", "ephemeralcontainers"):
        return obj
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    for field in ("initContainers", "containers", "ephemeralContainers"):
        if spec.get(field):
            spec[field] = [{**each, "imagePullPolicy": "Always"} for each in spec[field]]
    return {**obj, "spec": spec}
