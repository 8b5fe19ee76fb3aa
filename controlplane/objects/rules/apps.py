"""Rules for deployments, replica sets, stateful sets, daemon sets and replication controllers."""

from typing import Any, Final

from controlplane.objects import selectors
from controlplane.objects.meta import get_in
from controlplane.objects.rules import metadata
from controlplane.objects.rules.pod import pod_template
from controlplane.objects.rules.rule import IMMUTABLE, Errors, Object, Rules, at_least, int_or_percent, keep
from controlplane.objects.status import FieldError

_NUMBERS: Final = ("replicas", "minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds")
_STATEFUL_CHANGEABLE: Final = (
    "replicas", "ordinals", "template", "updateStrategy", "revisionHistoryLimit", "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
)  # fmt: skip
_STATEFUL_WORDS: Final = (
    "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', "
    "'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden"
)


def _selector(spec: Object, kind: str) -> Errors:
    """A selector says something, and what it says holds for the template's labels."""
    found = spec.get("selector")
    if found is None:
        return [FieldError.required("spec.selector")]
    if not found.get("matchLabels") and not found.get("matchExpressions"):
        return [FieldError.invalid("spec.selector", found, f"empty selector is invalid for {kind}")]
    errors = metadata.selector(found, "spec.selector")
    labels: dict[str, str] = get_in(spec, "template", "metadata", "labels", default={})
    if not errors and not selectors.from_selector(found).matches(labels):
        words = "`selector` does not match template `labels`"
        errors.append(FieldError.invalid("spec.template.metadata.labels", labels, words))
    return errors


def template(spec: Object, kind: str, *, restarts: tuple[str, ...] = ("Always",)) -> Errors:
    """The pod template of a controller: its pods start again for ever."""
    if not isinstance(spec.get("template"), dict):
        return [FieldError.required("spec.template")]
    errors = pod_template(spec["template"], "spec.template")
    found: Object = spec["template"].get("spec") or {}
    policy = found.get("restartPolicy")
    if policy and policy not in restarts:
        errors.append(FieldError.not_supported("spec.template.spec.restartPolicy", policy, restarts))
    if found.get("activeDeadlineSeconds") is not None:
        words = f"activeDeadlineSeconds in {kind} is not Supported"
        errors.append(FieldError.forbidden("spec.template.spec.activeDeadlineSeconds", words))
    return errors


def _numbers(spec: Object) -> Errors:
    return [error for name in _NUMBERS for error in at_least(spec.get(name), 0, f"spec.{name}")]


def _is_zero(value: Any) -> bool:
    return value in (0, "0%")


def _rolling_deployment(spec: Object) -> Errors:
    strategy: Object = spec.get("strategy") or {}
    rolling = strategy.get("rollingUpdate")
    path = "spec.strategy.rollingUpdate"
    if strategy.get("type") == "Recreate" and rolling is not None:
        return [FieldError.forbidden(path, "may not be specified when strategy `type` is 'Recreate'")]
    if not isinstance(rolling, dict):
        return []
    errors = int_or_percent(rolling.get("maxUnavailable"), f"{path}.maxUnavailable")
    errors += int_or_percent(rolling.get("maxSurge"), f"{path}.maxSurge")
    if _is_zero(rolling.get("maxUnavailable")) and _is_zero(rolling.get("maxSurge")):
        words = "may not be 0 when `maxSurge` is 0"
        errors.append(FieldError.invalid(f"{path}.maxUnavailable", rolling["maxUnavailable"], words))
    return errors


def _deployment(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors = [
        *_numbers(spec),
        *_selector(spec, "deployment"),
        *template(spec, "ReplicaSet"),
        *_rolling_deployment(spec),
    ]
    deadline, ready = spec.get("progressDeadlineSeconds"), spec.get("minReadySeconds") or 0
    if deadline is not None and deadline <= ready:
        errors.append(
            FieldError.invalid("spec.progressDeadlineSeconds", deadline, "must be greater than minReadySeconds")
        )
    return errors


def _replica_set(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    return [*_numbers(spec), *_selector(spec, "deployment"), *template(spec, "ReplicaSet")]


def _daemon_set(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    return [*_numbers(spec), *_selector(spec, "daemonset"), *template(spec, "DaemonSet")]


def _stateful_set(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    return [*_numbers(spec), *_selector(spec, "statefulset"), *template(spec, "StatefulSet")]


def _replication_controller(obj: Object) -> Errors:
    spec: Object = obj.get("spec") or {}
    errors = [*_numbers(spec), *template(spec, "ReplicationController")]
    if not spec.get("selector"):
        return [*errors, FieldError.required("spec.selector")]
    labels: dict[str, str] = get_in(spec, "template", "metadata", "labels", default={})
    if not selectors.from_map(spec["selector"]).matches(labels):
        words = "`selector` does not match template `labels`"
        errors.append(FieldError.invalid("spec.template.metadata.labels", labels, words))
    return errors


def _keep_selector(new: Object, old: Object) -> Errors:
    return keep(new, old, ("spec", "selector"))


def _update_stateful_set(new: Object, old: Object) -> Errors:
    def fixed(obj: Object) -> Object:
        return {key: value for key, value in (obj.get("spec") or {}).items() if key not in _STATEFUL_CHANGEABLE}

    return [] if fixed(new) == fixed(old) else [FieldError.forbidden("spec", _STATEFUL_WORDS)]


def _update_revision(new: Object, old: Object) -> Errors:
    return [] if new.get("data") == old.get("data") else [FieldError.invalid("data", new.get("data"), IMMUTABLE)]


RULES: Final = {
    ("apps", "deployments"): Rules(_deployment, _keep_selector),
    ("apps", "replicasets"): Rules(_replica_set, _keep_selector),
    ("apps", "daemonsets"): Rules(_daemon_set, _keep_selector),
    ("apps", "statefulsets"): Rules(_stateful_set, _update_stateful_set),
    ("apps", "controllerrevisions"): Rules(lambda obj: [], _update_revision),
    ("", "replicationcontrollers"): Rules(_replication_controller),
}
