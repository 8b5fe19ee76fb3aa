"""Custom resource definitions and API services."""

from typing import Final

from controlplane.objects.defaults.fill import Object, edit, ensure, fill


def _names(names: Object) -> Object:
    kind = names.get("kind")
    return fill(names, {"singular": kind.lower(), "listKind": f"{kind}List"}) if isinstance(kind, str) else names


def _definition(spec: Object) -> Object:
    spec = edit(spec, "names", _names)
    return ensure(spec, "conversion", lambda conversion: fill(conversion, {"strategy": "None"}))


def _api_service(spec: Object) -> Object:
    return edit(spec, "service", lambda service: fill(service, {"port": 443}))


DEFAULTS: Final = {
    ("apiextensions.k8s.io", "customresourcedefinitions"): lambda obj: edit(obj, "spec", _definition),
    ("apiregistration.k8s.io", "apiservices"): lambda obj: edit(obj, "spec", _api_service),
}
