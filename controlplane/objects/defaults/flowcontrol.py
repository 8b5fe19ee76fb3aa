"""Flow schemas and priority levels."""

from typing import Final

from controlplane.objects.defaults.fill import Object, edit, ensure, fill

GROUP: Final = "flowcontrol.apiserver.k8s.io"


def _queuing(response: Object) -> Object:
    if response.get("type") != "Queue":
        return response
    return ensure(
        response, "queuing", lambda queuing: fill(queuing, {"queues": 64, "handSize": 8, "queueLengthLimit": 50})
    )


def _limited(limited: Object) -> Object:
    limited = fill(limited, {"nominalConcurrencyShares": 30, "lendablePercent": 0})
    return edit(limited, "limitResponse", _queuing)


def _exempt(exempt: Object) -> Object:
    return fill(exempt, {"nominalConcurrencyShares": 0, "lendablePercent": 0})


def _level(spec: Object) -> Object:
    if spec.get("type") == "Exempt":
        return ensure(spec, "exempt", _exempt)
    return edit(spec, "limited", _limited)


DEFAULTS: Final = {
    (GROUP, "flowschemas"): lambda obj: edit(obj, "spec", lambda spec: fill(spec, {"matchingPrecedence": 1000})),
    (GROUP, "prioritylevelconfigurations"): lambda obj: edit(obj, "spec", _level),
}
