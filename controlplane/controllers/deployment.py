"""Deployment: one ReplicaSet per template, replicas moved from the old ones to the new as the strategy allows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from controlplane.controllers import _deployment_status as reporting
from controlplane.controllers import _pods
from controlplane.controllers._deployment_sets import (
    DESIRED,
    MAXIMUM,
    REVISION,
    copied_annotations,
    desired_memory,
    expired_sets,
    find_new,
    new_set,
    replicas_of,
    revision_of,
    set_name,
    sizes_of,
    with_replicas,
    with_revision,
)
from controlplane.controllers._rollout import Limits, new_replicas, proportional, resolve_limits, scale_down_old
from controlplane.machinery.actions import Action, Create, Delete, Note, Plan, Update
from controlplane.machinery.controller import Caches, Kind, Owned, Related
from controlplane.objects.kinds import DEPLOYMENTS, PODS, REPLICA_SETS
from controlplane.objects.meta import (
    annotations_of,
    controller_of,
    get_in,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    uid_of,
)
from controlplane.objects.selectors import from_selector

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observed:
    """The Deployment, its sets (oldest first), sets that it might adopt, the set that bears the new one's name if it is
    a stranger's, and (for Recreate) whether a pod of an old set still runs."""

    deployment: Object
    sets: Sequence[Object]
    loose: Sequence[Object] = ()
    taken_names: frozenset[str] = frozenset()
    running: frozenset[str] = frozenset()  # uids of the sets that have pods which are not finished


def _adopters(replica_set: Object, caches: Caches) -> Iterable[str]:
    if controller_of(replica_set) is not None:
        return []
    namespace, labels = namespace_of(replica_set), labels_of(replica_set)
    return [
        f"{namespace}/{name_of(deployment)}"
        for deployment in caches[DEPLOYMENTS].in_namespace(namespace)
        if from_selector(deployment["spec"].get("selector")).matches(labels)
    ]


def _deployments_of_pod(pod: Object, caches: Caches) -> Iterable[str]:
    """The Recreate strategy waits for the last old pod to go."""
    owner = controller_of(pod)
    replica_set = caches[REPLICA_SETS].by_uid(owner["uid"]) if owner and owner.get("kind") == "ReplicaSet" else None
    owner = controller_of(replica_set) if replica_set else None
    if owner is None or owner.get("kind") != "Deployment":
        return []
    key = f"{namespace_of(pod)}/{owner['name']}"
    deployment = caches[DEPLOYMENTS].get(key)
    return [key] if deployment and _strategy(deployment) == "Recreate" else []


def _pod_ended(old: Object, new: Object) -> bool:
    return _pods.phase_of(old) != _pods.phase_of(new)


NAME = "deployment-controller"
WATCHES = (
    Kind(DEPLOYMENTS),
    Owned(REPLICA_SETS, by=DEPLOYMENTS),
    Related(REPLICA_SETS, _adopters),
    Related(PODS, _deployments_of_pod, changed=_pod_ended),
)


def observe(key: str, caches: Caches) -> Observed | None:
    """The Deployment and its sets, or None when it is gone."""
    deployment = caches[DEPLOYMENTS].get(key)
    if deployment is None:
        return None
    cache = caches[REPLICA_SETS]
    owned = cache.controlled_by(deployment)
    selector = from_selector(deployment["spec"].get("selector"))
    matching = [] if selector.is_everything else cache.select(namespace_of(deployment), selector)
    owned.sort(key=lambda found: (get_in(found, "metadata", "creationTimestamp", default=""), name_of(found)))
    owned_names = {name_of(found) for found in owned}
    running = {
        uid_of(found)
        for found in owned
        if any(_pods.phase_of(pod) not in ("Succeeded", "Failed") for pod in caches[PODS].by_owner(uid_of(found)))
    }
    name = set_name(deployment)
    taken = {name} - owned_names if f"{namespace_of(deployment)}/{name}" in cache else set()
    loose = [found for found in matching if controller_of(found) is None]
    return Observed(deployment, owned, loose, frozenset(taken), frozenset(running))


def plan(observed: Observed, now: datetime) -> Plan:
    """The next step of the Deployment; each step waits for the caches to show the one before."""
    deployment = observed.deployment
    selector = from_selector(deployment["spec"].get("selector"))
    if selector.is_everything:
        note = Note(
            deployment,
            "Warning",
            "SelectingAll",
            "This deployment is selecting all pods. A non-empty selector is required.",
        )
        return Plan(notes=(note,))
    patches, sets = _pods.adoptions(deployment, DEPLOYMENTS, REPLICA_SETS, selector, observed.sets, observed.loose)
    rollout = _Rollout(deployment, sets, observed, now)
    if is_deleting(deployment):
        return rollout.report()
    if patches:
        return Plan(patches)
    if get_in(deployment, "spec", "paused", default=False) or rollout.is_resized():
        return rollout.resize()
    return rollout.recreate() if _strategy(deployment) == "Recreate" else rollout.roll()


def _strategy(deployment: Object) -> str:
    found: str = get_in(deployment, "spec", "strategy", "type", default="RollingUpdate")
    return found


def _limits(deployment: Object) -> Limits:
    rolling = get_in(deployment, "spec", "strategy", "rollingUpdate", default={})
    surge, unavailable = rolling.get("maxSurge", "25%"), rolling.get("maxUnavailable", "25%")
    replicas = int(get_in(deployment, "spec", "replicas", default=1))
    return resolve_limits(replicas, surge, unavailable, rolling=_strategy(deployment) == "RollingUpdate")


class _Rollout:
    """One plan in the making: the Deployment, its new set (if any), the old ones."""

    def __init__(self, deployment: Object, sets: Sequence[Object], observed: Observed, now: datetime) -> None:
        self.deployment = deployment
        self.sets = sets
        self.new = find_new(deployment, sets)
        self.old = [found for found in sets if found is not self.new]
        self.limits = _limits(deployment)
        self.observed = observed
        self.now = now
        self.revision = 1 + max((revision_of(found) for found in self.old), default=0)
        if self.new is not None:
            self.revision = max(self.revision, revision_of(self.new))

    # --- strategies
    def roll(self) -> Plan:
        if self.new is None:
            return self.create(new_replicas(self.limits, sum(map(replicas_of, self.old)), 0))
        if dressed := self.dress():
            return dressed
        total = sum(map(replicas_of, self.sets))
        wanted = new_replicas(self.limits, total, replicas_of(self.new))
        if wanted != replicas_of(self.new):
            return self.scale({name_of(self.new): wanted})
        down = scale_down_old(self.limits, [sizes_of(found) for found in self.old], sizes_of(self.new))
        return self.scale(down) if down else self.clean_up()

    def recreate(self) -> Plan:
        down = {name_of(found): 0 for found in self.old if replicas_of(found)}
        if down:
            return self.scale(down)
        if any(uid_of(found) in self.observed.running for found in self.old):
            return self.report()  # the last old pods are going
        if self.new is None:
            return self.create(self.limits.replicas)
        if dressed := self.dress():
            return dressed
        if replicas_of(self.new) != self.limits.replicas:
            return self.scale({name_of(self.new): self.limits.replicas})
        return self.clean_up()

    def is_resized(self) -> bool:
        """Whether `spec.replicas` has changed since the active sets were sized."""
        active = [found for found in self.sets if replicas_of(found)]
        return any(
            (remembered := annotations_of(found).get(DESIRED)) is not None and remembered != str(self.limits.replicas)
            for found in active
        )

    def resize(self) -> Plan:
        """Follow `spec.replicas` without moving the rollout on."""
        active = [found for found in self.sets if replicas_of(found)]
        latest = self.new or (self.old[-1] if self.old else None)
        if len(active) <= 1:
            only = active[0] if active else latest
            if only is None:
                return self.report()
            return self.resized({name_of(only): self.limits.replicas})
        if self.new is not None and self.is_saturated(self.new):
            return self.resized({name_of(found): 0 for found in active if found is not self.new})
        if _strategy(self.deployment) == "Recreate":
            return self.report()
        replicas = int(get_in(self.deployment, "status", "replicas", default=0))
        return self.resized(proportional(self.limits, [sizes_of(found) for found in active], replicas))

    def is_saturated(self, found: Object) -> bool:
        wanted = self.limits.replicas
        remembered = annotations_of(found).get(DESIRED) == str(wanted)
        return remembered and replicas_of(found) == wanted == int(
            get_in(found, "status", "availableReplicas", default=0)
        )

    # --- steps
    def create(self, replicas: int) -> Plan:
        name = set_name(self.deployment)
        if name in self.observed.taken_names:
            return Plan(status=reporting.with_collision(self.deployment, self.now))
        made = new_set(self.deployment, name, replicas, self.limits, self.revision, self.old)
        note = Note(
            self.deployment, "Normal", "ScalingReplicaSet", f"Scaled up replica set {name} from 0 to {replicas}"
        )
        create = Create(REPLICA_SETS, made, on_success=note if replicas else None)
        status = reporting.created(self.deployment, name, self.now)

        def failed(error: Exception) -> Update | None:
            return reporting.create_failed(self.deployment, str(error), self.now)

        return Plan((create,), status=status, status_after_failure=failed)

    def dress(self) -> Plan | None:
        """The new set's annotations and revision, and the Deployment's revision, where they are not right yet."""
        assert self.new is not None
        updates: list[Action] = []
        dressed = with_revision(copied_annotations(self.deployment, self.new), self.revision)
        minimum = int(get_in(self.deployment, "spec", "minReadySeconds", default=0))
        if int(get_in(dressed, "spec", "minReadySeconds", default=0)) != minimum:
            dressed = {**dressed, "spec": {**dressed["spec"], "minReadySeconds": minimum}}
        if dressed != self.new:
            updates.append(Update(REPLICA_SETS, dressed))
        if annotations_of(self.deployment).get(REVISION) != str(self.revision):
            marked = {**annotations_of(self.deployment), REVISION: str(self.revision)}
            metadata = {**self.deployment["metadata"], "annotations": marked}
            updates.append(Update(DEPLOYMENTS, {**self.deployment, "metadata": metadata}))
        return Plan(tuple(updates)) if updates else None

    def scale(self, wanted: dict[str, int]) -> Plan:
        """Set the replicas of some sets, and report."""
        updates: list[Action] = []
        for found in self.sets:
            size = wanted.get(name_of(found))
            if size is None:
                continue
            scaled = with_replicas(found, size, self.limits)
            if scaled != found:
                updates.append(Update(REPLICA_SETS, scaled, on_success=self.scaled_note(found, size)))
        if not updates:
            return self.report()
        reported = self.report()
        return Plan(tuple(updates), status=reported.status, again_after=reported.again_after)

    def resized(self, wanted: dict[str, int]) -> Plan:
        """As `scale`; every active set shall remember the new total, so that this does not look like a resize again."""
        memory = desired_memory(self.limits)
        complete = {name_of(found): replicas_of(found) for found in self.sets if replicas_of(found)} | wanted
        stale = {
            name
            for name in complete
            for found in self.sets
            if name_of(found) == name
            and (
                annotations_of(found).get(DESIRED) != memory[DESIRED]
                or annotations_of(found).get(MAXIMUM) != memory[MAXIMUM]
            )
        }
        return self.scale({name: size for name, size in complete.items() if name in stale or name in wanted})

    def scaled_note(self, found: Object, size: int) -> Note | None:
        before = replicas_of(found)
        if size == before:
            return None
        way = "up" if size > before else "down"
        text = f"Scaled {way} replica set {name_of(found)} from {before} to {size}"
        return Note(self.deployment, "Normal", "ScalingReplicaSet", text)

    def clean_up(self) -> Plan:
        """When the rollout is complete, drop the sets beyond the history limit."""
        reported = self.report()
        if self.new is None or not reporting.is_complete(
            self.deployment, reporting.counts(self.deployment, self.sets, self.new)
        ):
            return reported
        limit = int(get_in(self.deployment, "spec", "revisionHistoryLimit", default=10))
        deletes = tuple(Delete(REPLICA_SETS, found, at_version=True) for found in expired_sets(self.old, limit))
        return Plan(deletes, reported.status, reported.notes, reported.again_after)

    def report(self) -> Plan:
        """Nothing to change: bring the status up to date."""
        return reporting.report(self.deployment, self.sets, self.new, self.limits, self.now)


__all__ = ["NAME", "WATCHES", "Observed", "observe", "plan"]
