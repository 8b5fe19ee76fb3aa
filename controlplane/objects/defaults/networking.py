"""Network policies and ingress classes."""

from typing import Final

from controlplane.objects.defaults.fill import Object, each, edit, fill


def _rule(rule: Object) -> Object:
    return each(rule, "ports", lambda port: fill(port, {"protocol": "TCP"}))


def _policy(spec: Object) -> Object:
    spec = each(each(spec, "ingress", _rule), "egress", _rule)
    if not spec.get("policyTypes"):
        spec = {**spec, "policyTypes": ["Ingress", "Egress"] if spec.get("egress") else ["Ingress"]}
    return fill(spec, {"podSelector": {}})


def _parameters(parameters: Object) -> Object:
    return fill(parameters, {"scope": "Cluster"})


DEFAULTS: Final = {
    ("networking.k8s.io", "networkpolicies"): lambda obj: edit(obj, "spec", _policy),
    ("networking.k8s.io", "ingressclasses"): lambda obj: edit(
        obj, "spec", lambda spec: edit(spec, "parameters", _parameters)
    ),
}
