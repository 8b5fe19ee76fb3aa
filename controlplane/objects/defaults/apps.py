"""Deployments, replica sets, stateful sets, daemon sets, replication controllers."""

from typing import Final

from controlplane.objects.defaults.fill import Object, chain, each, edit, ensure, fill
from controlplane.objects.defaults.pod import pod_template
from controlplane.objects.meta import get_in

_CLAIM: Final = {"apiVersion": "v1", "kind": "PersistentVolumeClaim"}


def _template(spec: Object) -> Object:
    return edit(spec, "template", pod_template)


def _deployment_strategy(strategy: Object) -> Object:
    strategy = fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return ensure(
        strategy, "rollingUpdate", lambda rolling: fill(rolling, {"maxUnavailable": "25%", "maxSurge": "25%"})
    )


def _deployment(spec: Object) -> Object:
    spec = fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600})
    return ensure(_template(spec), "strategy", _deployment_strategy)


def _replica_set(spec: Object) -> Object:
    return fill(_template(spec), {"replicas": 1})


def _stateful_update(strategy: Object) -> Object:
    strategy = fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return ensure(strategy, "rollingUpdate", lambda rolling: fill(rolling, {"partition": 0}))


def _claim(claim: Object) -> Object:
    claim = fill(claim, _CLAIM)
    claim = edit(claim, "spec", lambda spec: fill(spec, {"volumeMode": "Filesystem"}))
    return ensure(claim, "status", lambda status: fill(status, {"phase": "Pending"}))


def _stateful_set(spec: Object) -> Object:
    spec = fill(spec, {"replicas": 1, "revisionHistoryLimit": 10, "podManagementPolicy": "OrderedReady"})
    spec = ensure(_template(spec), "updateStrategy", _stateful_update)
    retention = {"whenDeleted": "Retain", "whenScaled": "Retain"}
    spec = ensure(spec, "persistentVolumeClaimRetentionPolicy", lambda policy: fill(policy, retention))
    return each(spec, "volumeClaimTemplates", _claim)


def _daemon_update(strategy: Object) -> Object:
    strategy = fill(strategy, {"type": "RollingUpdate"})
    if strategy["type"] != "RollingUpdate":
        return strategy
    return ensure(strategy, "rollingUpdate", lambda rolling: fill(rolling, {"maxUnavailable": 1, "maxSurge": 0}))


def _daemon_set(spec: Object) -> Object:
    return ensure(fill(_template(spec), {"revisionHistoryLimit": 10}), "updateStrategy", _daemon_update)


def _replication_controller(controller: Object) -> Object:
    """The oldest kind takes selector and labels from its template."""
    labels = get_in(controller, "spec", "template", "metadata", "labels")
    if labels:
        controller = ensure(controller, "spec", lambda spec: fill(spec, {"selector": labels}))
        controller = ensure(controller, "metadata", lambda metadata: fill(metadata, {"labels": labels}))
    return edit(controller, "spec", chain(_template, lambda spec: fill(spec, {"replicas": 1})))


DEFAULTS: Final = {
    ("apps", "deployments"): lambda obj: edit(obj, "spec", _deployment),
    ("apps", "replicasets"): lambda obj: edit(obj, "spec", _replica_set),
    ("apps", "statefulsets"): lambda obj: edit(obj, "spec", _stateful_set),
    ("apps", "daemonsets"): lambda obj: edit(obj, "spec", _daemon_set),
    ("", "replicationcontrollers"): _replication_controller,
}
