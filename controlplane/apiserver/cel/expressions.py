"""What is wrong with the CEL expressions that an object of the API itself contains: it is said when it is written."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from controlplane.apiserver.cel import schema_rules
from controlplane.apiserver.cel.messages import as_maps
from controlplane.apiserver.cel.program import CelError, compile_expression
from controlplane.objects.kinds import Resource
from controlplane.objects.status import FieldError

Object = dict[str, Any]
Found = Iterator[tuple[str, str]]

ADMISSION_VARIABLES: Final = ("object", "oldObject", "request", "params", "namespaceObject", "variables", "authorizer")
_ADMISSION: Final = "admissionregistration.k8s.io"


def _each(owner: Object, name: str, path: str, parts: Iterable[str] = ("expression",)) -> Found:
    for at, item in enumerate(owner.get(name) or ()):
        for part in parts:
            if item.get(part):
                yield f"{path}{name}[{at}].{part}", item[part]


def _of_webhooks(configuration: Object) -> Found:
    for at, webhook in enumerate(configuration.get("webhooks") or ()):
        yield from _each(webhook, "matchConditions", f"webhooks[{at}].")


def _of_policy(policy: Object) -> Found:
    spec: Object = policy.get("spec") or {}
    yield from _each(spec, "matchConditions", "spec.")
    yield from _each(spec, "variables", "spec.")
    yield from _each(spec, "validations", "spec.", ("expression", "messageExpression"))


def _of_mutations(policy: Object) -> Found:
    spec: Object = policy.get("spec") or {}
    yield from _each(spec, "matchConditions", "spec.")
    yield from _each(spec, "variables", "spec.")
    for at, mutation in enumerate(spec.get("mutations") or ()):
        for part in ("applyConfiguration", "jsonPatch"):
            if (mutation.get(part) or {}).get("expression"):
                yield f"spec.mutations[{at}].{part}.expression", mutation[part]["expression"]


_WHERE: Final[dict[tuple[str, str], Callable[[Object], Found]]] = {
    (_ADMISSION, "mutatingwebhookconfigurations"): _of_webhooks,
    (_ADMISSION, "validatingwebhookconfigurations"): _of_webhooks,
    (_ADMISSION, "validatingadmissionpolicies"): _of_policy,
    (_ADMISSION, "mutatingadmissionpolicies"): _of_mutations,
}


def broken(resource: Resource, obj: Object) -> list[FieldError]:
    """The expressions that do not compile; all of them when the library is missing."""
    if (resource.group, resource.plural) == ("apiextensions.k8s.io", "customresourcedefinitions"):
        return schema_rules.check_definition(obj)
    where = _WHERE.get((resource.group, resource.plural))
    found: list[FieldError] = []
    for path, text in where(obj) if where is not None else ():
        try:
            compile_expression(as_maps(text), ADMISSION_VARIABLES)
        except CelError as error:
            found.append(FieldError.invalid(path, text, str(error)))
    return found
