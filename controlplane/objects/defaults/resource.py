"""Resource claims: how many devices a request asks for."""

from typing import Final

from controlplane.objects.defaults.fill import Object, each, edit, edit_at, fill

GROUP: Final = "resource.k8s.io"


def _exactly(request: Object) -> Object:
    request = fill(request, {"allocationMode": "ExactCount"})
    return fill(request, {"count": 1}) if request["allocationMode"] == "ExactCount" else request


def _request(request: Object) -> Object:
    return each(edit(request, "exactly", _exactly), "firstAvailable", _exactly)


def _claim(spec: Object) -> Object:
    return edit(spec, "devices", lambda devices: each(devices, "requests", _request))


DEFAULTS: Final = {
    (GROUP, "resourceclaims"): lambda obj: edit(obj, "spec", _claim),
    (GROUP, "resourceclaimtemplates"): lambda obj: edit_at(obj, ("spec", "spec"), _claim),
}
