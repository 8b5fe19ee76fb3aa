"""Expressions of admission policies on one operation: the values that they see, match conditions, variables."""

from __future__ import annotations

import logging
from typing import Any, Final

from controlplane.apiserver.admission.attributes import Attributes
from controlplane.apiserver.authn.user import User, service_account_groups, split_service_account
from controlplane.apiserver.authz import attributes as authorization
from controlplane.apiserver.cel import authorizer
from controlplane.apiserver.cel.expressions import ADMISSION_VARIABLES
from controlplane.apiserver.cel.messages import as_maps
from controlplane.apiserver.cel.program import CelError, compile_expression
from controlplane.apiserver.webhooks import reviews
from controlplane.objects.kinds import NAMESPACES

Object = dict[str, Any]

MOST_ROUNDS: Final = 64  # a check may depend on another's answer, so not all are known after the first evaluation

logger = logging.getLogger(__name__)


async def values_of(told: Attributes) -> Object:
    """What every expression about an operation sees."""
    asked = reviews.request(told.services.environment.uid(), told, told.resource, told.object, told.old)
    namespace = None
    if told.resource.namespaced:
        cache = await told.services.caches.ready(NAMESPACES)
        entry = cache.get(f"/registry/namespaces/{told.namespace}".encode())
        namespace = entry.object() if entry is not None else None
    resource = {
        "group": told.resource.group,
        "resource": told.resource.plural,
        "subresource": told.subresource,
        "namespace": told.namespace,
        "name": told.name,
    }
    return {
        "object": told.object or None,
        "oldObject": told.old or None,
        "request": {name: value for name, value in asked.items() if name not in ("object", "oldObject")},
        "params": None,
        "namespaceObject": namespace,
        "variables": {},
        "authorizer": authorizer.value(told.user.name, resource),
    }


async def evaluated(told: Attributes, text: str, values: Object) -> Any:
    """The value of an expression; raises CelError in Kubernetes' words."""
    decided = authorizer.Decided()
    try:
        program = compile_expression(as_maps(text), ADMISSION_VARIABLES)
        for _ in range(MOST_ROUNDS):
            try:
                with authorizer.deciding(decided):
                    return program(values)
            except CelError:
                if not decided.missed:
                    raise
            for question in sorted(decided.missed):
                decided.known[question] = await _decision(told, dict(question))
            decided.missed.clear()
        raise CelError("too many authorization checks")
    except CelError as error:
        raise CelError(f"expression '{text}' resulted in error: {error}") from None


async def _decision(told: Attributes, asked: dict[str, str]) -> tuple[bool, str]:
    name = asked[authorizer.MARK]
    account = split_service_account(name)
    if name == told.user.name:
        user = told.user
    else:
        user = User(name, service_account_groups(account[0]) if account else ())
    version = "*" if asked["resource"] else ""
    wanted = authorization.Attributes(
        asked["verb"], asked["group"], version, asked["resource"], asked["subresource"], asked["name"],
        asked["namespace"], asked["path"],
    )  # fmt: skip
    found = await told.services.authorizer.decide(user, wanted)
    return found.allowed, found.reason


async def conditions_hold(told: Attributes, policy: Object, values: Object) -> bool:
    """Whether every match condition is true; raises CelError."""
    for condition in policy["spec"].get("matchConditions") or ():
        if await evaluated(told, condition["expression"], values) is not True:
            return False
    return True


async def with_variables(told: Attributes, policy: Object, values: Object) -> Object:
    """The values with the policy's variables; one that fails is missing, and fails who asks for it."""
    known: Object = {}
    for variable in policy["spec"].get("variables") or ():
        try:
            known[variable["name"]] = await evaluated(told, variable["expression"], {**values, "variables": known})
        except CelError as error:
            logger.debug("variable %s: %s", variable["name"], error)
    return {**values, "variables": known}
