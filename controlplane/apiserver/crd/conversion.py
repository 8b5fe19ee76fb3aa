"""From one version of a custom object to another: by name alone (None), or by asking a webhook."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from controlplane.apiserver.crd.definition import Definition

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

Object = dict[str, Any]


async def convert(services: Services, definition: Definition, objects: list[Object], wanted: str) -> list[Object]:
    """The objects with apiVersion `wanted`, in the same order; raises 500 when the webhook fails."""
    others = [at for at, obj in enumerate(objects) if obj["apiVersion"] != wanted]
    if not others:
        return objects
    result = list(objects)
    if definition.conversion.get("strategy") != "Webhook":
        for at in others:
            result[at] = {**objects[at], "apiVersion": wanted}
        return result
    from controlplane.apiserver.webhooks import conversion as webhook

    converted = await webhook.convert(services, definition, [objects[at] for at in others], wanted)
    for at, obj in zip(others, converted):
        result[at] = obj
    return result
