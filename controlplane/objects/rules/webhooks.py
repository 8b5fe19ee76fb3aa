"""MutatingWebhookConfiguration and ValidatingWebhookConfiguration."""

from __future__ import annotations

from typing import Any, Final

from controlplane.objects.rules import names
from controlplane.objects.rules.definitions import client_config
from controlplane.objects.rules.rule import Errors, Object, Rules, each
from controlplane.objects.status import FieldError

_OPERATIONS: Final = ("CREATE", "UPDATE", "DELETE", "CONNECT", "*")
_SCOPES: Final = ("*", "Cluster", "Namespaced")
_POLICIES: Final = {
    "failurePolicy": ("Fail", "Ignore"),
    "matchPolicy": ("Equivalent", "Exact"),
    "reinvocationPolicy": ("IfNeeded", "Never"),
}


def _name(webhook: Object, path: str) -> Errors:
    name = webhook.get("name") or ""
    if not name:
        return [FieldError.required(f"{path}.name")]
    found = [FieldError.invalid(f"{path}.name", name, why) for why in names.subdomain(name)]
    if len(name.split(".")) < 3:
        words = "should be a domain with at least three segments separated by dots"
        found.append(FieldError.invalid(f"{path}.name", name, words))
    return found


def _rule(rule: Object, path: str) -> Errors:
    found = [
        FieldError.required(f"{path}.{part}")
        for part in ("operations", "apiGroups", "apiVersions", "resources")
        if not rule.get(part)
    ]
    for where, operation in each(rule, "operations", path):
        if operation not in _OPERATIONS:
            found.append(FieldError.not_supported(where, operation, sorted(_OPERATIONS)))
    for part in ("operations", "apiGroups", "apiVersions"):
        values = rule.get(part) or []
        if "*" in values and len(values) > 1:
            words = (
                "if '*' is present, must not specify other "
                + {
                    "operations": "operations",
                    "apiGroups": "API groups",
                    "apiVersions": "API versions",
                }[part]
            )
            found.append(FieldError.invalid(f"{path}.{part}", values, words))
    if rule.get("scope", "*") not in _SCOPES:
        found.append(FieldError.not_supported(f"{path}.scope", rule["scope"], _SCOPES))
    return found


def _webhook(webhook: Object, path: str) -> Errors:
    found = _name(webhook, path)
    for where, rule in each(webhook, "rules", path):
        found += _rule(rule, where)
    for name, allowed in _POLICIES.items():
        if webhook.get(name) is not None and webhook[name] not in allowed:
            found.append(FieldError.not_supported(f"{path}.{name}", webhook[name], allowed))
    effects = webhook.get("sideEffects")
    if effects is None:
        found.append(FieldError.required(f"{path}.sideEffects", "must specify one of None, NoneOnDryRun"))
    elif effects not in ("None", "NoneOnDryRun"):
        found.append(FieldError.not_supported(f"{path}.sideEffects", effects, ("None", "NoneOnDryRun")))
    seconds: Any = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= 30:
        words = "the timeout value must be between 1 and 30 seconds"
        found.append(FieldError.invalid(f"{path}.timeoutSeconds", seconds, words))
    reviews = webhook.get("admissionReviewVersions") or []
    if not reviews:
        found.append(FieldError.required(f"{path}.admissionReviewVersions", "must specify one of v1, v1beta1"))
    elif "v1" not in reviews:
        words = "must include at least one of v1, v1beta1"
        found.append(FieldError.invalid(f"{path}.admissionReviewVersions", reviews, words))
    return found + client_config(webhook.get("clientConfig") or {}, f"{path}.clientConfig")


def _check(configuration: Object) -> Errors:
    found: Errors = []
    seen: set[str] = set()
    for path, webhook in each(configuration, "webhooks", ""):
        found += _webhook(webhook, path)
        name = webhook.get("name") or ""
        if name in seen:
            found.append(FieldError.duplicate(f"{path}.name", name))
        seen.add(name)
    return found


RULES: Final = {
    ("admissionregistration.k8s.io", "mutatingwebhookconfigurations"): Rules(_check),
    ("admissionregistration.k8s.io", "validatingwebhookconfigurations"): Rules(_check),
}
