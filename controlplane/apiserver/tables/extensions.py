"""What extends the API: webhooks, admission policies, custom resources, API services."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import AGE, CREATED, UNSET, Column, Object, Printer, age, text
from controlplane.objects.meta import condition_of, get_in


def _webhooks(obj: Object, now: datetime) -> list[Any]:
    return [len(obj.get("webhooks") or ()), age(obj, now)]


def _parameters(obj: Object, *path: str) -> str:
    found: Object = get_in(obj, *path, default={})
    return f"{found.get('apiVersion', '')}/{found.get('kind', '')}" if found else UNSET


def _validating_policy(obj: Object, now: datetime) -> list[Any]:
    rules = get_in(obj, "spec", "validations", default=())
    return [len(rules), _parameters(obj, "spec", "paramKind"), age(obj, now)]


def _mutating_policy(obj: Object, now: datetime) -> list[Any]:
    rules = get_in(obj, "spec", "mutations", default=())
    return [len(rules), _parameters(obj, "spec", "paramKind"), age(obj, now)]


def _policy_binding(obj: Object, now: datetime) -> list[Any]:
    reference: Object = get_in(obj, "spec", "paramRef", default={})
    shown = UNSET
    if reference:
        namespace = reference.get("namespace") or "*"
        shown = f"{namespace}/{reference['name']}" if reference.get("name") else f"{namespace}/*"
    return [text(obj, "spec", "policyName", absent=""), shown, age(obj, now)]


def _api_service(obj: Object, now: datetime) -> list[Any]:
    service: Object = get_in(obj, "spec", "service", default={})
    where = f"{service.get('namespace', '')}/{service.get('name', '')}" if service else "Local"
    available = condition_of(obj, "Available") or {}
    shown = available.get("status", "Unknown")
    if shown != "True" and available.get("reason"):
        shown = f"{shown} ({available['reason']})"
    return [where, shown, age(obj, now)]


_GROUP: Final = "admissionregistration.k8s.io"
_WEBHOOKS: Final = Printer((Column("Webhooks", "integer"), AGE), _webhooks)
_BINDINGS: Final = Printer((Column("PolicyName"), Column("ParamRef"), AGE), _policy_binding)
PRINTERS: Final = {
    (_GROUP, "mutatingwebhookconfigurations"): _WEBHOOKS,
    (_GROUP, "validatingwebhookconfigurations"): _WEBHOOKS,
    (_GROUP, "validatingadmissionpolicies"): Printer(
        (Column("Validations", "integer"), Column("ParamKind"), AGE), _validating_policy
    ),
    (_GROUP, "mutatingadmissionpolicies"): Printer(
        (Column("Mutations", "integer"), Column("ParamKind"), AGE), _mutating_policy
    ),
    (_GROUP, "validatingadmissionpolicybindings"): _BINDINGS,
    (_GROUP, "mutatingadmissionpolicybindings"): _BINDINGS,
    ("apiextensions.k8s.io", "customresourcedefinitions"): CREATED,
    ("apiregistration.k8s.io", "apiservices"): Printer((Column("Service"), Column("Available"), AGE), _api_service),
}
