"""Which fields a field selector may name, per resource, and their values as text.

check(PODS, selector)                    SelectorError for a field that is not supported
selector.matches(reader(PODS, pod))      reader(resource, obj) gives field -> text ("" when absent)
"""

from collections.abc import Callable
from typing import Any, Final

from controlplane.objects.kinds import Resource
from controlplane.objects.meta import get_in
from controlplane.objects.selectors import FieldSelector, SelectorError

Object = dict[str, Any]

_EVERYWHERE: Final = ("metadata.name", "metadata.namespace")

# (group, plural) -> field -> what stands there when the object does not say it
_SUPPORTED: Final[dict[tuple[str, str], dict[str, str]]] = {
    ("", "pods"): {
        "spec.nodeName": "",
        "spec.restartPolicy": "",
        "spec.schedulerName": "",
        "spec.serviceAccountName": "",
        "spec.hostNetwork": "false",
        "status.phase": "",
        "status.podIP": "",
        "status.nominatedNodeName": "",
    },
    ("", "events"): {
        **{
            f"involvedObject.{name}": ""
            for name in ("kind", "namespace", "name", "uid", "apiVersion", "resourceVersion", "fieldPath")
        },
        "reason": "",
        "reportingComponent": "",
        "source": "",
        "type": "",
    },
    ("", "namespaces"): {"status.phase": ""},
    ("", "nodes"): {"spec.unschedulable": "false"},
    ("", "replicationcontrollers"): {"status.replicas": "0"},
    ("", "secrets"): {"type": ""},
    ("", "services"): {"spec.clusterIP": "", "spec.type": ""},
    ("apps", "replicasets"): {"status.replicas": "0"},
    ("batch", "jobs"): {"status.successful": "0"},
    ("certificates.k8s.io", "certificatesigningrequests"): {"spec.signerName": ""},
    ("certificates.k8s.io", "clustertrustbundles"): {"spec.signerName": ""},
    ("certificates.k8s.io", "podcertificaterequests"): {"spec.signerName": "", "spec.podName": "", "spec.nodeName": ""},
    ("resource.k8s.io", "resourceslices"): {"spec.nodeName": "", "spec.driver": ""},
}

# fields whose text is not simply what stands at their path
_PATHS: Final[dict[tuple[str, str], tuple[str, ...]]] = {
    ("events", "source"): ("source", "component"),
    ("jobs", "status.successful"): ("status", "succeeded"),
}


def supported(resource: Resource) -> tuple[str, ...]:
    """The fields that a selector on this resource may name."""
    return (*_EVERYWHERE, *_SUPPORTED.get((resource.group, resource.plural), ()))


def check(resource: Resource, selector: FieldSelector) -> None:
    """Raises SelectorError (answer 400 BadRequest with its text) for a field that is not supported."""
    known = supported(resource)
    for name in selector.fields():
        if name not in known:
            raise SelectorError(f"field label not supported: {name}")


def _text(value: Any, absent: str) -> str:
    if value is None:
        return absent
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def reader(resource: Resource, obj: Object) -> Callable[[str], str]:
    """field -> its text in this object, for FieldSelector.matches."""
    defaults = _SUPPORTED.get((resource.group, resource.plural), {})

    def value_of(name: str) -> str:
        path = _PATHS.get((resource.plural, name)) or tuple(name.split("."))
        value = get_in(obj, *path)
        if name == "source" and not value:
            value = obj.get("reportingComponent")
        return _text(value, defaults.get(name, ""))

    return value_of
