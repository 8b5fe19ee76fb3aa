"""StatefulSet: pods with fixed names, created in order, deleted in reverse order, each with its own claims.

The revision of a pod is a hash of the template; a rolling update replaces pods from the highest ordinal down to `partition`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Action, Create, Delete, Note, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Owned, Reads
from controlplane.objects.kinds import PERSISTENT_VOLUME_CLAIMS, PODS, STATEFUL_SETS
from controlplane.objects.meta import (
    conditions_of,
    get_in,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
)

Object = dict[str, Any]

REVISION = "controller-revision-hash"
POD_NAME = "statefulset.kubernetes.io/pod-name"
POD_INDEX = "apps.kubernetes.io/pod-index"

NAME = "statefulset-controller"
WATCHES = (Kind(STATEFUL_SETS), Owned(PODS, by=STATEFUL_SETS), Reads(PERSISTENT_VOLUME_CLAIMS))


@dataclass(frozen=True, slots=True)
class Observed:
    """The set, its pods, and the names of the claims of its namespace."""

    owner: Object
    pods: Sequence[Object]
    claims: frozenset[str] = frozenset()


def observe(key: str, caches: Caches) -> Observed | None:
    """The set and its pods, or None when it is gone."""
    owner = caches[STATEFUL_SETS].get(key)
    if owner is None:
        return None
    pods = caches[PODS].controlled_by(owner)
    claims = [name_of(claim) for claim in caches[PERSISTENT_VOLUME_CLAIMS].in_namespace(namespace_of(owner))]
    wanted = owner["spec"].get("volumeClaimTemplates")
    return Observed(owner, pods, frozenset(claims) if wanted else frozenset())


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step: one pod at a time, unless the pods are managed in parallel."""
    run = _Run(observed, now)
    if is_deleting(run.owner):
        return Plan(status=run.status())
    actions = run.steps()
    return Plan(tuple(actions), None if actions else run.status(), again_after=run.until_available())


class _Run:
    """One plan in the making."""

    def __init__(self, observed: Observed, now: datetime) -> None:
        self.owner, self.now, self.claims = observed.owner, now, observed.claims
        self.spec: Object = self.owner["spec"]
        self.replicas = int(get_in(self.owner, "spec", "replicas", default=1))
        self.start = int(get_in(self.spec, "ordinals", "start", default=0))
        self.minimum = int(get_in(self.spec, "minReadySeconds", default=0))
        self.parallel = self.spec.get("podManagementPolicy") == "Parallel"
        self.pods = {index: pod for pod in observed.pods if (index := ordinal(self.owner, pod)) is not None}
        self.update_revision = f"{name_of(self.owner)}-{_pods.suffix(10, self.spec['template'])}"
        old = get_in(self.owner, "status", "currentRevision", default="")
        self.current_revision = old or self.update_revision

    @property
    def wanted(self) -> range:
        return range(self.start, self.start + self.replicas)

    def is_available(self, pod: Object) -> bool:
        return not is_deleting(pod) and _pods.is_available(pod, self.minimum, self.now)

    def steps(self) -> list[Action]:
        actions: list[Action] = []
        for index in self.wanted:
            pod = self.pods.get(index)
            if pod is None:
                actions += self.create(index)
            elif not is_deleting(pod) and _pods.phase_of(pod) in ("Failed", "Succeeded"):
                actions.append(self.delete(pod))
            elif self.is_available(pod):
                continue
            if not self.parallel:
                return actions  # its predecessors must all be available before the next one is touched
        surplus = [self.pods[index] for index in sorted(self.pods, reverse=True) if index not in self.wanted]
        for pod in surplus:
            if not is_deleting(pod):
                actions.append(self.delete(pod))
            if not self.parallel:
                return actions
        return actions or self.roll()

    def roll(self) -> list[Action]:
        """Replace the highest pod that has an old template, one at a time."""
        if get_in(self.spec, "updateStrategy", "type", default="RollingUpdate") != "RollingUpdate":
            return []
        partition = int(get_in(self.spec, "updateStrategy", "rollingUpdate", "partition", default=0))
        for index in reversed(self.wanted):
            pod = self.pods[index]
            if index < max(partition, self.start):
                break
            if is_deleting(pod):
                return []
            if labels_of(pod).get(REVISION) != self.update_revision:
                return [self.delete(pod)]
            if not self.is_available(pod):
                return []
        return []

    def create(self, index: int) -> list[Action]:
        name = f"{name_of(self.owner)}-{index}"
        pod = _pods.pod_from_template(self.owner, STATEFUL_SETS, self.spec["template"], name)
        del pod["metadata"]["generateName"]
        marks = {POD_NAME: name, POD_INDEX: str(index), REVISION: self.update_revision}
        labels = {**(pod["metadata"].get("labels") or {}), **marks}
        templates = self.spec.get("volumeClaimTemplates") or ()
        names = {name_of(claim) for claim in templates}
        volumes = [volume for volume in pod["spec"].get("volumes") or () if volume["name"] not in names]
        volumes += [
            {"name": name_of(claim), "persistentVolumeClaim": {"claimName": f"{name_of(claim)}-{name}"}}
            for claim in templates
        ]
        spec = {**pod["spec"], "hostname": name, "subdomain": self.spec.get("serviceName", "")}
        if volumes:
            spec["volumes"] = volumes
        made = {**pod, "metadata": {**pod["metadata"], "labels": labels}, "spec": spec}
        text = f"create Pod {name} in StatefulSet {name_of(self.owner)}"
        done = Note(self.owner, "Normal", "SuccessfulCreate", f"{text} successful")
        failed = Note(self.owner, "Warning", "FailedCreate", f"{text} failed error: {{error}}")
        return [*self.create_claims(name), Create(PODS, made, on_success=done, on_failure=failed)]

    def create_claims(self, pod_name: str) -> list[Action]:
        labels = get_in(self.spec, "selector", "matchLabels", default={})
        made: list[Action] = []
        for template in self.spec.get("volumeClaimTemplates") or ():
            name = f"{name_of(template)}-{pod_name}"
            if name in self.claims:
                continue
            metadata = {**template["metadata"], "name": name, "namespace": namespace_of(self.owner)}
            metadata["labels"] = {**(metadata.get("labels") or {}), **labels}
            claim = {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": metadata,
                "spec": template["spec"],
            }
            made.append(Create(PERSISTENT_VOLUME_CLAIMS, claim, exists_ok=True))
        return made

    def delete(self, pod: Object) -> Action:
        text = f"delete Pod {name_of(pod)} in StatefulSet {name_of(self.owner)}"
        done = Note(self.owner, "Normal", "SuccessfulDelete", f"{text} successful")
        failed = Note(self.owner, "Warning", "FailedDelete", f"{text} failed error: {{error}}")
        return Delete(PODS, pod, on_success=done, on_failure=failed)

    def until_available(self) -> float | None:
        waits = [wait for pod in self.pods.values() if (wait := _pods.available_in(pod, self.minimum, self.now))]
        return min(waits, default=None)

    def status(self) -> Update | None:
        pods = [pod for pod in self.pods.values() if _pods.phase_of(pod) not in ("Failed", "Succeeded")]
        living = [pod for pod in pods if not is_deleting(pod)]
        updated = [pod for pod in living if labels_of(pod).get(REVISION) == self.update_revision]
        complete = len(updated) == self.replicas == sum(map(self.is_available, updated))
        current = self.update_revision if complete else self.current_revision
        status: Object = {
            "observedGeneration": get_in(self.owner, "metadata", "generation", default=0),
            "replicas": len(pods),
            "readyReplicas": sum(_pods.is_ready(pod) for pod in living),
            "availableReplicas": sum(map(self.is_available, living)),
            "currentReplicas": sum(labels_of(pod).get(REVISION) == current for pod in living),
            "updatedReplicas": len(updated),
            "currentRevision": current,
            "updateRevision": self.update_revision,
            "collisionCount": 0,
            "conditions": conditions_of(self.owner),
        }
        always = ("replicas", "availableReplicas", "collisionCount")
        status = {key: value for key, value in status.items() if value or key in always}
        if status == self.owner.get("status"):
            return None
        return Update(STATEFUL_SETS, {**self.owner, "status": status}, "status")


def ordinal(owner: Object, pod: Object) -> int | None:
    """The number at the end of the pod's name; None when it is not one of the set's names."""
    base, _, number = name_of(pod).rpartition("-")
    return int(number) if base == name_of(owner) and number.isdigit() else None
