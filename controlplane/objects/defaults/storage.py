"""Volumes, claims, storage classes and drivers, priority classes."""

from typing import Final

from controlplane.objects.defaults.fill import Object, edit, ensure, fill

_DRIVER: Final = {
    "attachRequired": True,
    "podInfoOnMount": False,
    "storageCapacity": False,
    "fsGroupPolicy": "ReadWriteOnceWithFSType",
    "volumeLifecycleModes": ["Persistent"],
    "requiresRepublish": False,
    "seLinuxMount": False,
}


def _volume(volume: Object) -> Object:
    def spec(found: Object) -> Object:
        found = fill(found, {"persistentVolumeReclaimPolicy": "Retain", "volumeMode": "Filesystem"})
        return edit(found, "hostPath", lambda path: fill(path, {"type": ""}))

    volume = edit(volume, "spec", spec)
    return ensure(volume, "status", lambda status: fill(status, {"phase": "Pending"}))


def _claim(claim: Object) -> Object:
    claim = edit(claim, "spec", lambda spec: fill(spec, {"volumeMode": "Filesystem"}))
    return ensure(claim, "status", lambda status: fill(status, {"phase": "Pending"}))


def _class(obj: Object) -> Object:
    return fill(obj, {"reclaimPolicy": "Delete", "volumeBindingMode": "Immediate"})


DEFAULTS: Final = {
    ("", "persistentvolumes"): _volume,
    ("", "persistentvolumeclaims"): _claim,
    ("storage.k8s.io", "storageclasses"): _class,
    ("storage.k8s.io", "csidrivers"): lambda obj: edit(obj, "spec", lambda spec: fill(spec, _DRIVER)),
    ("scheduling.k8s.io", "priorityclasses"): lambda obj: fill(obj, {"preemptionPolicy": "PreemptLowerPriority"}),
}
