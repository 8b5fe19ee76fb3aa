"""Rules for volumes, claims, classes and drivers, and for priority and runtime classes."""

from typing import Final

from controlplane.objects import quantity
from controlplane.objects.meta import get_in
from controlplane.objects.rules.rule import IMMUTABLE, Errors, Object, Rules, amount, keep, no_rules
from controlplane.objects.status import FieldError

_HIGHEST_USER_PRIORITY: Final = 1_000_000_000
_CLAIM_CHANGEABLE: Final = ("resources", "volumeAttributesClassName", "volumeName")
_CLAIM_WORDS: Final = (
    "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims"
)
_STORAGE: Final = "storage.k8s.io"
_VOLUME_FIELDS: Final = frozenset(
    {
        "capacity", "accessModes", "claimRef", "persistentVolumeReclaimPolicy", "storageClassName", "mountOptions",
        "volumeMode", "nodeAffinity", "volumeAttributesClassName",
    }
)  # fmt: skip


def _volume(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors: Errors = []
    capacity = get_in(spec, "capacity", "storage")
    if capacity is None:
        errors.append(FieldError.required("spec.capacity"))
    else:
        errors += amount(capacity, "spec.capacity[storage]")
    if not spec.get("accessModes"):
        errors.append(FieldError.required("spec.accessModes"))
    if not [name for name in spec if name not in _VOLUME_FIELDS]:
        errors.append(FieldError.required("spec", "must specify a volume type"))
    return errors


def _claim(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors: Errors = []
    if not spec.get("accessModes"):
        errors.append(FieldError.required("spec.accessModes", "at least 1 access mode is required"))
    request = get_in(spec, "resources", "requests", "storage")
    if request is None:
        errors.append(FieldError.required("spec.resources[storage]"))
    elif quantity.parse(request).nanos <= 0:
        errors.append(FieldError.invalid("spec.resources[storage]", request, "must be greater than zero"))
    return errors


def _update_claim(new: Object, old: Object) -> Errors:
    def fixed(obj: Object) -> Object:
        return {key: value for key, value in (obj.get("spec") or {}).items() if key not in _CLAIM_CHANGEABLE}

    before, after = get_in(old, "spec", "volumeName"), get_in(new, "spec", "volumeName")
    if fixed(new) != fixed(old) or (before and before != after):
        return [FieldError.forbidden("spec", _CLAIM_WORDS)]
    requested, now = (get_in(obj, "spec", "resources", "requests", "storage", default="0") for obj in (old, new))
    if quantity.parse(now).nanos < quantity.parse(requested).nanos:
        words = "field can not be less than status.capacity"
        return [FieldError.forbidden("spec.resources.requests.storage", words)]
    return []


def _update_class(new: Object, old: Object) -> Errors:
    errors: Errors = []
    for name in ("provisioner", "parameters", "reclaimPolicy", "volumeBindingMode"):
        if new.get(name) == old.get(name):
            continue
        if name == "provisioner" or name == "volumeBindingMode":
            errors.append(FieldError.invalid(name, new.get(name), IMMUTABLE))
        else:
            errors.append(FieldError.forbidden(name, f"updates to {name} are forbidden."))
    return errors


def _priority(obj: Object) -> Errors:
    value = obj.get("value") or 0
    name: str = get_in(obj, "metadata", "name", default="")
    if value > _HIGHEST_USER_PRIORITY and not name.startswith("system-"):
        words = f"maximum allowed value of a user defined priority is {_HIGHEST_USER_PRIORITY}"
        return [FieldError.forbidden("value", words)]
    return []


def _update_priority(new: Object, old: Object) -> Errors:
    errors = []
    if (new.get("value") or 0) != (old.get("value") or 0):
        errors.append(FieldError.forbidden("value", "may not be changed in an update."))
    if new.get("preemptionPolicy") != old.get("preemptionPolicy"):
        errors.append(FieldError.invalid("preemptionPolicy", new.get("preemptionPolicy"), IMMUTABLE))
    return errors


def _update_runtime_class(new: Object, old: Object) -> Errors:
    return keep(new, old, ("handler",))


def _update_attachment(new: Object, old: Object) -> Errors:
    return keep(new, old, ("spec",))


RULES: Final = {
    ("", "persistentvolumes"): Rules(_volume),
    ("", "persistentvolumeclaims"): Rules(_claim, _update_claim),
    (_STORAGE, "storageclasses"): Rules(no_rules, _update_class),
    (_STORAGE, "volumeattachments"): Rules(no_rules, _update_attachment),
    ("scheduling.k8s.io", "priorityclasses"): Rules(_priority, _update_priority),
    ("node.k8s.io", "runtimeclasses"): Rules(no_rules, _update_runtime_class),
}
