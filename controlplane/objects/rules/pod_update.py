"""What may change of a pod that exists: almost nothing, and a little more through its subresources."""

from collections.abc import Mapping
from typing import Any, Final

from controlplane.objects.rules.containers import container
from controlplane.objects.rules.rule import Errors, Object, each
from controlplane.objects.status import FieldError

_CHANGEABLE: Final = (
    "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_RESIZABLE: Final = ("cpu", "memory")


def _without_changeable(spec: Object, old: Mapping[str, Any]) -> Object:
    """The spec with what may change put back to what it was."""
    restored = dict(spec)
    for kind in ("containers", "initContainers"):
        before, after = old.get(kind) or [], spec.get(kind) or []
        if len(before) == len(after) and after:
            restored[kind] = [{**now, "image": then.get("image")} for now, then in zip(after, before)]
    for field in ("activeDeadlineSeconds", "tolerations", "schedulingGates", "ephemeralContainers"):
        restored.pop(field, None)
        if field in old:
            restored[field] = old[field]
    if (old.get("terminationGracePeriodSeconds") or 0) < 0 and spec.get("terminationGracePeriodSeconds") == 1:
        restored["terminationGracePeriodSeconds"] = old["terminationGracePeriodSeconds"]
    return restored


def _gated_changes(spec: Object, old: Object) -> Object:
    """A pod whose scheduling is held back may still choose other nodes."""
    if not old.get("schedulingGates"):
        return spec
    return {**spec, **{field: old[field] for field in ("nodeSelector", "affinity") if field in old}}


def _deadline(new: Object, old: Object) -> Errors:
    now, before = new.get("activeDeadlineSeconds"), old.get("activeDeadlineSeconds")
    path = "spec.activeDeadlineSeconds"
    if before is not None and now is None:
        return [FieldError.invalid(path, None, "must not update from a positive integer to nil value")]
    if before is not None and now > before:
        return [FieldError.invalid(path, now, "must be less than or equal to previous value")]
    return []


def update(new: Object, old: Object) -> Errors:
    """Almost nothing of a pod's spec may change."""
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    errors = _deadline(spec, before)
    kept = spec.get("tolerations") or []
    if any(toleration not in kept for toleration in before.get("tolerations") or ()):
        words = "existing toleration can not be modified except its tolerationSeconds"
        errors += _changed_tolerations(kept, before["tolerations"], words)
    gates = {gate.get("name") for gate in before.get("schedulingGates") or ()}
    for where, gate in each(spec, "schedulingGates", "spec"):
        if gate.get("name") not in gates:
            errors.append(FieldError.forbidden(where, "only deletion is allowed, but found new scheduling gate"))
    if _gated_changes(_without_changeable(spec, before), before) != before:
        errors.append(FieldError.forbidden("spec", _CHANGEABLE))
    return errors


def _changed_tolerations(kept: list[Object], before: list[Object], words: str) -> Errors:
    def bare(toleration: Object) -> Object:
        return {key: value for key, value in toleration.items() if key != "tolerationSeconds"}

    left = [bare(toleration) for toleration in kept]
    if all(bare(toleration) in left for toleration in before):
        return []
    return [FieldError.forbidden("spec.tolerations", words)]


def _without_resources(found: Object) -> Object:
    """A container without what a resize may change."""
    resources = found.get("resources") or {}
    kept = {
        kind: {name: amount for name, amount in (resources.get(kind) or {}).items() if name not in _RESIZABLE}
        for kind in ("limits", "requests")
    }
    return {**found, "resources": {**resources, **kept}}


def resize(new: Object, old: Object) -> Errors:
    """Through /resize: cpu and memory of containers that are there, and nothing else."""

    def fixed(pod: Object) -> Object:
        spec = dict(pod.get("spec") or {})
        for kind in ("containers", "initContainers"):
            if kind in spec:
                spec[kind] = [_without_resources(found) for found in spec[kind]]
        return spec

    return (
        [] if fixed(new) == fixed(old) else [FieldError.forbidden("spec", "only cpu and memory resources are mutable")]
    )


def ephemeral(new: Object, old: Object) -> Errors:
    """Through /ephemeralcontainers: new ones are added, those that are there stay as they are."""
    path = "spec.ephemeralContainers"
    spec, before = new.get("spec") or {}, old.get("spec") or {}
    volumes = frozenset(volume.get("name") or "" for volume in spec.get("volumes") or ())
    errors: Errors = []
    for where, found in each(spec, "ephemeralContainers", "spec"):
        errors += container(found, volumes, where)
        for field in ("ports", "livenessProbe", "readinessProbe", "startupProbe", "lifecycle"):
            if found.get(field):
                errors.append(FieldError.forbidden(f"{where}.{field}", "cannot be set for an Ephemeral Container"))
    present = {found.get("name"): found for found in spec.get("ephemeralContainers") or ()}
    for found in before.get("ephemeralContainers") or ():
        name = found.get("name")
        if name not in present:
            errors.append(FieldError.forbidden(path, f'existing ephemeral containers "{name}" may not be removed'))
        elif present[name] != found:
            errors.append(FieldError.forbidden(path, f'existing ephemeral containers "{name}" may not be changed'))
    return errors
