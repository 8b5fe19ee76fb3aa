"""What Kubernetes fills in where a client said nothing. One file a family; the registry below is the list.

    apply_defaults(resource, obj) -> obj          the object itself where nothing was missing

A family exports `DEFAULTS: {(group, plural): function(obj) -> obj}` (for both versions of a group, if there are two). Call it
after decoding (controlplane.objects.validation) and before validation (controlplane.objects.rules). What needs the server (IP
addresses, uids, the finalizer of namespaces, a Job's selector) is not here.
"""

from collections.abc import Callable
from typing import Any, Final

from controlplane.objects.defaults import (
    admission,
    apps,
    autoscaling,
    batch,
    core,
    extensions,
    flowcontrol,
    networking,
    pod,
    rbac,
    resource,
    service,
    storage,
)
from controlplane.objects.kinds import Resource

Object = dict[str, Any]
Defaulter = Callable[[Object], Object]

REGISTRY: Final[dict[tuple[str, str], Defaulter]] = {
    **core.DEFAULTS,
    **pod.DEFAULTS,
    **service.DEFAULTS,
    **apps.DEFAULTS,
    **batch.DEFAULTS,
    **autoscaling.DEFAULTS,
    **networking.DEFAULTS,
    **rbac.DEFAULTS,
    **storage.DEFAULTS,
    **admission.DEFAULTS,
    **extensions.DEFAULTS,
    **flowcontrol.DEFAULTS,
    **resource.DEFAULTS,
}


def apply_defaults(resource: Resource, obj: Object) -> Object:
    """The object with Kubernetes' defaults; kinds without any come back as they are."""
    defaulter = REGISTRY.get((resource.group, resource.plural))
    return defaulter(obj) if defaulter else obj
