"""MutatingAdmissionWebhook: asked one after the other; each sees what those before it made."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.crd import conversion, instances
from controlplane.apiserver.crd.definition import CustomResource
from controlplane.apiserver.webhooks import hooks, reviews
from controlplane.apiserver.webhooks.hooks import Hook
from controlplane.objects import defaults, validation
from controlplane.objects.kinds import Resource

Object = dict[str, Any]

NAME: Final = "MutatingAdmissionWebhook"
IS_OF_ALL: Final = True
CONFIGURATIONS: Final = Resource(
    "admissionregistration.k8s.io",
    "v1",
    "mutatingwebhookconfigurations",
    "MutatingWebhookConfiguration",
    namespaced=False,
)


async def mutate(attributes: Attributes) -> Object:
    """The object after all webhooks; in a second turn, after those that are asked again."""
    obj, turn = attributes.object, attributes.reinvocation
    wanted = await hooks.configured(attributes, CONFIGURATIONS)
    turn.begin(NAME, obj)
    for hook in wanted:
        if turn.skips(NAME, hook.identity):
            continue
        made = await _asked(attributes, hook, obj)
        if_needed = hook.raw.get("reinvocationPolicy") == "IfNeeded"
        turn.asked(NAME, hook.identity, if_needed=if_needed, changed=made != obj)
        obj = made
    turn.end(NAME, obj)
    return obj


async def _asked(told: Attributes, hook: Hook, obj: Object) -> Object:
    verdict, shown = await hooks.ask(replace(told, object=obj), hook, obj)
    if verdict is None or not verdict.patch or not obj:
        return obj
    patched = reviews.patched(hook.name, shown, verdict.patch)
    return obj if patched == shown else await redecoded(told, patched)


async def redecoded(told: Attributes, patched: Object) -> Object:
    """An object that admission changed, as if it had come so: converted, pruned, defaulted."""
    if told.subresource and patched.get("kind") != told.resource.kind:
        return patched  # options of a connection, a Binding: nothing is known of its fields
    if isinstance(told.resource, CustomResource):
        wanted = told.resource.group_version
        converted = await conversion.convert(told.services, told.resource.definition, [patched], wanted)
        return instances.as_read(told.resource, converted[0])
    schema = told.services.scheme.schema_of(told.resource)
    decoded, _ = validation.decode_object(told.resource, schema, patched, "Ignore")
    return defaults.apply_defaults(told.resource, decoded)
