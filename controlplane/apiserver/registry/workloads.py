"""Deployments, ReplicaSets, StatefulSets, DaemonSets, Jobs, CronJobs, ReplicationControllers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver.registry.strategy import Strategy
from controlplane.apiserver.storage.codec import Object

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

CONTROLLER_UID: Final = "batch.kubernetes.io/controller-uid"
JOB_NAME: Final = "batch.kubernetes.io/job-name"
_OLD_CONTROLLER_UID: Final = "controller-uid"
_OLD_JOB_NAME: Final = "job-name"


def _job(services: Services, obj: Object) -> Object:
    """A job selects its own pods by its uid, unless the user chose a selector."""
    spec: dict[str, Any] = dict(obj.get("spec") or {})
    if spec.get("manualSelector"):
        return obj
    metadata = obj["metadata"]
    template: dict[str, Any] = dict(spec.get("template") or {})
    marks = {CONTROLLER_UID: metadata["uid"], _OLD_CONTROLLER_UID: metadata["uid"]}
    names = {JOB_NAME: metadata["name"], _OLD_JOB_NAME: metadata["name"]}
    labels = {**((template.get("metadata") or {}).get("labels") or {}), **marks, **names}
    template["metadata"] = {**(template.get("metadata") or {}), "labels": labels}
    spec["template"] = template
    spec["selector"] = {"matchLabels": {CONTROLLER_UID: metadata["uid"]}}
    return {**obj, "spec": spec}


def _kept_selector(services: Services, new: Object, old: Object) -> Object:
    """The generated selector and labels stay when an update leaves them out."""
    spec, before = dict(new.get("spec") or {}), old.get("spec") or {}
    if not spec.get("selector"):
        spec["selector"] = before.get("selector")
        template: dict[str, Any] = dict(spec.get("template") or {})
        kept = ((before.get("template") or {}).get("metadata") or {}).get("labels") or {}
        labels = {**((template.get("metadata") or {}).get("labels") or {})}
        for name in (CONTROLLER_UID, _OLD_CONTROLLER_UID, JOB_NAME, _OLD_JOB_NAME):
            if name in kept:
                labels.setdefault(name, kept[name])
        template["metadata"] = {**(template.get("metadata") or {}), "labels": labels}
        spec["template"] = template
        return {**new, "spec": spec}
    return new


STRATEGY: Final = Strategy(counts_generation=True)
JOBS: Final = Strategy(counts_generation=True, prepare_create=_job, prepare_update=_kept_selector)
REPLICATION_CONTROLLERS: Final = Strategy(counts_generation=True)
