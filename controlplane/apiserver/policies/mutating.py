"""MutatingAdmissionPolicy: CEL that says what an object should have (ApplyConfiguration) or how it changes (JSONPatch).

Policies are asked in the order of their bindings' names; each sees what those before it made. One whose reinvocationPolicy
is IfNeeded is asked once more when something later changed the object.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.cel.program import CelError
from controlplane.apiserver.policies import binding, evaluation
from controlplane.apiserver.policies.binding import Met, NoParameters
from controlplane.apiserver.webhooks.mutating import redecoded
from controlplane.objects import patch
from controlplane.objects.apply import ConfigurationError, merged
from controlplane.objects.schema import Schema
from controlplane.objects.status import ApiError, forbidden

Object = dict[str, Any]

NAME: Final = "MutatingAdmissionPolicy"
IS_OF_ALL: Final = True
_NOT_APPLIED: Final = ("apiVersion", "kind")
_OWN_METADATA: Final = (
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "resourceVersion",
    "generation",
    "managedFields",
)


async def mutate(attributes: Attributes) -> Object:
    """The object after all policies that it meets."""
    if not attributes.object or attributes.operation == "CONNECT":  # the fields of options have no schema here
        return attributes.object
    wanted = await binding.met(attributes, binding.MUTATING)
    if not wanted:
        return attributes.object
    obj, turn = attributes.object, attributes.reinvocation
    turn.begin(NAME, obj)
    for found in wanted:
        identity = f"{found.policy['metadata']['name']}/{found.binding['metadata']['name']}"
        if turn.skips(NAME, identity):
            continue
        made = await _mutated(replace(attributes, object=obj), found)
        if_needed = found.policy["spec"].get("reinvocationPolicy") == "IfNeeded"
        turn.asked(NAME, identity, if_needed=if_needed, changed=made != obj)
        obj = made
    turn.end(NAME, obj)
    return obj


async def _mutated(told: Attributes, found: Met) -> Object:
    """The object after one policy; raises 422 when it fails and its failurePolicy is Fail."""
    try:
        values = await evaluation.values_of(told)
        if not await evaluation.conditions_hold(told, found.policy, values):
            return told.object
        obj = told.object
        for parameter in await binding.parameters(told, found):
            obj = await _with_mutations(
                replace(told, object=obj), found, {**values, "params": parameter, "object": obj}
            )
    except NoParameters as error:
        raise _refusal(told, found, f"failed to configure binding: {error}") from error
    except (CelError, patch.PatchError, ConfigurationError) as error:
        if found.policy["spec"].get("failurePolicy") == "Ignore":
            return told.object
        raise _refusal(told, found, str(error)) from error
    return obj


async def _with_mutations(told: Attributes, found: Met, values: Object) -> Object:
    obj = told.object
    for mutation in found.policy["spec"].get("mutations") or ():
        values = await evaluation.with_variables(told, found.policy, {**values, "object": obj})
        if mutation.get("patchType") == "JSONPatch":
            text = (mutation.get("jsonPatch") or {}).get("expression") or ""
            operations = await evaluation.evaluated(told, text, values)
            made = patch.json_patch(obj, operations)
        else:
            text = (mutation.get("applyConfiguration") or {}).get("expression") or ""
            made = _applied(told, obj, await evaluation.evaluated(told, text, values))
        if made != obj:
            obj = await redecoded(told, made)
    return obj


def _schema(told: Attributes) -> Schema:
    return told.services.scheme.schema_of(told.resource)


def _applied(told: Attributes, obj: Object, configuration: Any) -> Object:
    """The object with a configuration merged into it, as server-side apply merges. Raises ConfigurationError."""
    if not isinstance(configuration, dict):
        raise ConfigurationError("must evaluate to Object")
    metadata = configuration.get("metadata") or {}
    for name in _OWN_METADATA:
        if name in metadata:
            raise ConfigurationError(f"metadata.{name} may not be set by an apply configuration")
    configuration = {name: part for name, part in configuration.items() if name not in _NOT_APPLIED}
    return merged(_schema(told), obj, configuration)


def _refusal(told: Attributes, found: Met, why: str) -> ApiError:
    names = f"'{found.policy['metadata']['name']}' with binding '{found.binding['metadata']['name']}'"
    message = f"policy {names} denied request: {why}"
    error = forbidden(told.resource, told.name, message)
    return ApiError(422, "Invalid", error.message, {**(error.details or {}), "causes": [{"message": message}]})
