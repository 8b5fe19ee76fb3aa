"""Admission webhooks and policies."""

from typing import Any, Final

from controlplane.objects.defaults.fill import Object, each, edit, fill

GROUP: Final = "admissionregistration.k8s.io"
_MATCH: Final[dict[str, Any]] = {"matchPolicy": "Equivalent", "namespaceSelector": {}, "objectSelector": {}}


def _rule(rule: Object) -> Object:
    return fill(rule, {"scope": "*"})


def _service(config: Object) -> Object:
    return edit(config, "service", lambda service: fill(service, {"port": 443}))


def _webhook(webhook: Object) -> Object:
    webhook = edit(each(webhook, "rules", _rule), "clientConfig", _service)
    return fill(webhook, {**_MATCH, "failurePolicy": "Fail", "timeoutSeconds": 10})


def _mutating(webhook: Object) -> Object:
    return fill(_webhook(webhook), {"reinvocationPolicy": "Never"})


def _resources(match: Object) -> Object:
    return fill(each(each(match, "resourceRules", _rule), "excludeResourceRules", _rule), _MATCH)


def _policy(spec: Object) -> Object:
    return fill(edit(spec, "matchConstraints", _resources), {"failurePolicy": "Fail"})


def _binding(spec: Object) -> Object:
    return edit(spec, "matchResources", _resources)


DEFAULTS: Final = {
    (GROUP, "mutatingwebhookconfigurations"): lambda obj: each(obj, "webhooks", _mutating),
    (GROUP, "validatingwebhookconfigurations"): lambda obj: each(obj, "webhooks", _webhook),
    (GROUP, "validatingadmissionpolicies"): lambda obj: edit(obj, "spec", _policy),
    (GROUP, "mutatingadmissionpolicies"): lambda obj: edit(obj, "spec", _policy),
    (GROUP, "validatingadmissionpolicybindings"): lambda obj: edit(obj, "spec", _binding),
    (GROUP, "mutatingadmissionpolicybindings"): lambda obj: edit(obj, "spec", _binding),
}
