"""ValidatingAdmissionPolicy: CEL over the object, the request and the parameters of a binding."""

from __future__ import annotations

from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.cel.program import CelError
from controlplane.apiserver.policies import binding, evaluation
from controlplane.apiserver.policies.binding import Met, NoParameters
from controlplane.objects.status import ApiError, forbidden

Object = dict[str, Any]

NAME: Final = "ValidatingAdmissionPolicy"
IS_OF_ALL: Final = True
_CODES: Final = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}


async def validate(attributes: Attributes) -> None:
    """Raise the first refusal; warnings go into the answer."""
    for found in await binding.met(attributes, binding.VALIDATING):
        values = await evaluation.values_of(attributes)
        ignores = found.policy["spec"].get("failurePolicy") == "Ignore"
        try:
            if not await evaluation.conditions_hold(attributes, found.policy, values):
                continue
            for parameter in await binding.parameters(attributes, found):
                await _judge(attributes, found, {**values, "params": parameter})
        except NoParameters as error:
            _refuse(attributes, found, f"failed to configure binding: {error}", "Invalid")
        except CelError as error:
            if not ignores:
                _refuse(attributes, found, str(error), "Invalid")


async def _judge(told: Attributes, found: Met, values: Object) -> None:
    values = await evaluation.with_variables(told, found.policy, values)
    for validation in found.policy["spec"].get("validations") or ():
        text = validation["expression"]
        if await evaluation.evaluated(told, text, values) is not True:
            message = await _message(told, validation, values)
            _refuse(told, found, message, validation.get("reason") or "Invalid")


async def _message(told: Attributes, validation: Object, values: Object) -> str:
    if validation.get("messageExpression"):
        try:
            message = await evaluation.evaluated(told, validation["messageExpression"], values)
        except CelError:
            message = ""  # the plain message stands in, as Kubernetes has it
        if isinstance(message, str) and message.strip() and "\n" not in message:
            return message.strip()
    return validation.get("message") or f"failed expression: {validation['expression'].strip()}"


def _refuse(told: Attributes, found: Met, why: str, reason: str) -> None:
    """Deny, warn or do nothing, as the binding says."""
    names = f"'{found.policy['metadata']['name']}' with binding '{found.binding['metadata']['name']}'"
    actions: list[str] = found.binding["spec"].get("validationActions") or ["Deny"]
    if "Warn" in actions:
        told.warnings.append(f"Validation failed for ValidatingAdmissionPolicy {names}: {why}")
    if "Deny" not in actions:
        return
    message = f"ValidatingAdmissionPolicy {names} denied request: {why}"
    error = forbidden(told.resource, told.name, message)
    causes = [{"message": message}]
    raise ApiError(_CODES.get(reason, 422), reason, error.message, {**(error.details or {}), "causes": causes})
