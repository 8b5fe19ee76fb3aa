"""ValidatingAdmissionPolicy: CEL over the object, the request and the parameters of a binding."""

from __future__ import annotations

import logging
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.cel.expressions import ADMISSION_VARIABLES
from controlplane.apiserver.cel.program import CelError, compile_expression
from controlplane.apiserver.policies import binding
from controlplane.apiserver.policies.binding import Met, NoParameters
from controlplane.apiserver.webhooks import reviews
from controlplane.objects.kinds import NAMESPACES
from controlplane.objects.status import ApiError, forbidden

Object = dict[str, Any]

NAME: Final = "ValidatingAdmissionPolicy"
_CODES: Final = {"Unauthorized": 401, "Forbidden": 403, "Invalid": 422, "RequestEntityTooLarge": 413}

logger = logging.getLogger(__name__)


async def validate(attributes: Attributes) -> None:
    """Raise the first refusal; warnings go into the answer."""
    for found in await binding.met(attributes):
        values = await _values(attributes)
        ignores = found.policy["spec"].get("failurePolicy") == "Ignore"
        try:
            if not _conditions_hold(found, values):
                continue
            for parameter in await binding.parameters(attributes, found):
                _judge(attributes, found, {**values, "params": parameter})
        except NoParameters as error:
            _refuse(attributes, found, f"failed to configure binding: {error}", "Invalid")
        except CelError as error:
            if not ignores:
                _refuse(attributes, found, str(error), "Invalid")


async def _values(told: Attributes) -> Object:
    asked = reviews.request(told.services.environment.uid(), told, told.resource, told.object, told.old)
    namespace = None
    if told.resource.namespaced:
        cache = await told.services.caches.ready(NAMESPACES)
        entry = cache.get(f"/registry/namespaces/{told.namespace}".encode())
        namespace = entry.object() if entry is not None else None
    return {
        "object": told.object or None,
        "oldObject": told.old or None,
        "request": {name: value for name, value in asked.items() if name not in ("object", "oldObject")},
        "params": None,
        "namespaceObject": namespace,
        "variables": {},
    }


def _evaluated(text: str, values: Object) -> Any:
    try:
        return compile_expression(text, ADMISSION_VARIABLES)(values)
    except CelError as error:
        raise CelError(f"expression '{text}' resulted in error: {error}") from None


def _conditions_hold(found: Met, values: Object) -> bool:
    conditions: list[Object] = found.policy["spec"].get("matchConditions") or []
    return all(_evaluated(condition["expression"], values) is True for condition in conditions)


def _with_variables(policy: Object, values: Object) -> Object:
    """The values with the policy's variables; one that fails is missing, and fails who asks for it."""
    known: Object = {}
    for variable in policy["spec"].get("variables") or ():
        try:
            known[variable["name"]] = _evaluated(variable["expression"], {**values, "variables": known})
        except CelError as error:
            logger.debug("variable %s: %s", variable["name"], error)
    return {**values, "variables": known}


def _judge(told: Attributes, found: Met, values: Object) -> None:
    values = _with_variables(found.policy, values)
    for validation in found.policy["spec"].get("validations") or ():
        text = validation["expression"]
        if _evaluated(text, values) is not True:
            _refuse(told, found, _message(validation, values), validation.get("reason") or "Invalid")


def _message(validation: Object, values: Object) -> str:
    if validation.get("messageExpression"):
        try:
            message = _evaluated(validation["messageExpression"], values)
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
