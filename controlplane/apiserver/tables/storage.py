"""Volumes, claims, classes and drivers."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import AGE, CREATED, UNSET, Column, Object, Printer, age, text, wide
from controlplane.objects.meta import annotations_of, get_in, name_of

_MODES: Final = {
    "ReadWriteOnce": "RWO", "ReadOnlyMany": "ROX", "ReadWriteMany": "RWX", "ReadWriteOncePod": "RWOP",
}  # fmt: skip
_CLASS_ANNOTATION: Final = "volume.beta.kubernetes.io/storage-class"
_DEFAULT_CLASS: Final = (
    "storageclass.kubernetes.io/is-default-class",
    "storageclass.beta.kubernetes.io/is-default-class",
)


def _modes(modes: list[str]) -> str:
    return ",".join(short for mode, short in _MODES.items() if mode in modes)


def _storage_class(obj: Object) -> str:
    old = annotations_of(obj).get(_CLASS_ANNOTATION)
    return old if old is not None else text(obj, "spec", "storageClassName", absent="")


def _attributes_class(obj: Object) -> str:
    return text(obj, "spec", "volumeAttributesClassName", absent=UNSET)


def _volume(obj: Object, now: datetime) -> list[Any]:
    claim: Object = get_in(obj, "spec", "claimRef", default={})
    phase = text(obj, "status", "phase", absent="")
    return [
        text(obj, "spec", "capacity", "storage", absent=""),
        _modes(get_in(obj, "spec", "accessModes", default=[])),
        text(obj, "spec", "persistentVolumeReclaimPolicy", absent=""),
        "Terminating" if get_in(obj, "metadata", "deletionTimestamp") else phase,
        f"{claim.get('namespace', '')}/{claim.get('name', '')}" if claim else "",
        _storage_class(obj),
        _attributes_class(obj),
        text(obj, "status", "reason", absent=""),
        age(obj, now),
        text(obj, "spec", "volumeMode", absent=UNSET),
    ]


def _claim(obj: Object, now: datetime) -> list[Any]:
    bound = bool(get_in(obj, "spec", "volumeName"))
    phase = text(obj, "status", "phase", absent="")
    return [
        "Terminating" if get_in(obj, "metadata", "deletionTimestamp") else phase,
        text(obj, "spec", "volumeName", absent=""),
        text(obj, "status", "capacity", "storage", absent="") if bound else "",
        _modes(get_in(obj, "status", "accessModes", default=[])) if bound else "",
        _storage_class(obj),
        _attributes_class(obj),
        age(obj, now),
        text(obj, "spec", "volumeMode", absent=UNSET),
    ]


def _class_title(obj: Object) -> str:
    marks = annotations_of(obj)
    default = any(marks.get(key) == "true" for key in _DEFAULT_CLASS)
    return f"{name_of(obj)} (default)" if default else name_of(obj)


def _class(obj: Object, now: datetime) -> list[Any]:
    return [
        obj.get("provisioner", ""),
        obj.get("reclaimPolicy", "Delete"),
        obj.get("volumeBindingMode", UNSET),
        bool(obj.get("allowVolumeExpansion")),
        age(obj, now),
    ]


def _attributes(obj: Object, now: datetime) -> list[Any]:
    return [obj.get("driverName", ""), age(obj, now)]


def _driver(obj: Object, now: datetime) -> list[Any]:
    spec: Object = obj.get("spec") or {}
    audiences = ",".join(request.get("audience", "") for request in spec.get("tokenRequests") or ())
    return [
        spec.get("attachRequired", True),
        spec.get("podInfoOnMount", False),
        spec.get("storageCapacity", False),
        audiences or UNSET,
        spec.get("requiresRepublish", False),
        ",".join(spec.get("volumeLifecycleModes") or ()) or "<none>",
        age(obj, now),
    ]


def _csi_node(obj: Object, now: datetime) -> list[Any]:
    return [len(get_in(obj, "spec", "drivers", default=())), age(obj, now)]


def _attachment(obj: Object, now: datetime) -> list[Any]:
    return [
        text(obj, "spec", "attacher", absent=""),
        text(obj, "spec", "source", "persistentVolumeName", absent=""),
        text(obj, "spec", "nodeName", absent=""),
        bool(get_in(obj, "status", "attached")),
        age(obj, now),
    ]


_GROUP: Final = "storage.k8s.io"
PRINTERS: Final = {
    ("", "persistentvolumes"): Printer(
        (
            *(
                Column(name)
                for name in ("Capacity", "Access Modes", "Reclaim Policy", "Status", "Claim", "StorageClass")
            ),
            Column("VolumeAttributesClass"),
            Column("Reason"),
            AGE,
            *wide("VolumeMode"),
        ),
        _volume,
    ),
    ("", "persistentvolumeclaims"): Printer(
        (
            *(Column(name) for name in ("Status", "Volume", "Capacity", "Access Modes", "StorageClass")),
            Column("VolumeAttributesClass"),
            AGE,
            *wide("VolumeMode"),
        ),
        _claim,
    ),
    (_GROUP, "storageclasses"): Printer(
        (
            *(Column(name) for name in ("Provisioner", "ReclaimPolicy", "VolumeBindingMode", "AllowVolumeExpansion")),
            AGE,
        ),
        _class,
        title=_class_title,
    ),
    (_GROUP, "volumeattributesclasses"): Printer((Column("DriverName"), AGE), _attributes),
    (_GROUP, "csidrivers"): Printer(
        (
            *(Column(name, "boolean") for name in ("AttachRequired", "PodInfoOnMount", "StorageCapacity")),
            Column("TokenRequests"),
            Column("RequiresRepublish", "boolean"),
            Column("Modes"),
            AGE,
        ),
        _driver,
    ),
    (_GROUP, "csinodes"): Printer((Column("Drivers", "integer"), AGE), _csi_node),
    (_GROUP, "csistoragecapacities"): CREATED,
    (_GROUP, "volumeattachments"): Printer(
        (Column("Attacher"), Column("PV"), Column("Node"), Column("Attached", "boolean"), AGE), _attachment
    ),
}
