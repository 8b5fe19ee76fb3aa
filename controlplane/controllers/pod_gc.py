"""Pod garbage collection: pods of nodes that are gone, pods that wait to go on no node, too many that are finished.

Keys are "node/NAME" for a node that may be gone, "pod/NAMESPACE/NAME" for one pod, and "finished".
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.controllers import _pods
from controlplane.machinery.actions import Delete, Note, Plan
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.controller import Caches, Related, Watch
from controlplane.objects.kinds import NODES, PODS
from controlplane.objects.meta import get_in, is_deleting, key_of, name_of

Object = dict[str, Any]

FINISHED = "finished"


@dataclass(frozen=True, slots=True)
class Observed:
    """Pods that may have to go, and the node whose absence must be confirmed first."""

    pods: Sequence[Object]
    missing_node: str = ""
    reason: str = ""


def _finished(pod: Object) -> Iterable[str]:
    return ("yes",) if _pods.phase_of(pod) in ("Succeeded", "Failed") else ()


def _keys_of_pod(pod: Object, caches: Caches) -> Iterable[str]:
    node = get_in(pod, "spec", "nodeName", default="")
    if node and node not in caches[NODES]:
        yield f"node/{node}"
    if not node and is_deleting(pod):
        yield f"pod/{key_of(pod)}"
    if _finished(pod):
        yield FINISHED


class PodGarbageCollector:
    """`threshold`: finished pods that may be kept; 0 keeps all."""

    NAME = "pod-garbage-collector-controller"
    WATCHES: tuple[Watch, ...] = (
        Related(NODES, lambda node, caches: (f"node/{name_of(node)}",), changed=lambda old, new: False),
        Related(PODS, _keys_of_pod),
    )

    def __init__(self, threshold: int) -> None:
        self._threshold = threshold

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """The pods that the key is about, or None."""
        kind, _, rest = key.partition("/")
        if kind == "node":
            pods = caches[PODS].by_node(rest) if rest not in caches[NODES] else []
            return Observed(pods, rest, f"PodGC: node {rest} no longer exists") if pods else None
        if kind == "pod":
            pod = caches[PODS].get(rest)
            waiting = pod is not None and is_deleting(pod) and not get_in(pod, "spec", "nodeName")
            return Observed([pod], reason="PodGC: the pod was never bound") if pod and waiting else None
        finished = caches[PODS].by_index("finished", _finished, "yes")
        if not self._threshold or len(finished) <= self._threshold:
            return None
        finished.sort(key=lambda pod: get_in(pod, "metadata", "creationTimestamp", default=""))
        return Observed(finished[: len(finished) - self._threshold], reason="PodGC: too many finished pods")

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed | None:
        """Ask the API itself whether the node is gone: the cache may lag behind a node that has just come."""
        if not observed.missing_node:
            return observed
        try:
            await client.get(NODES, observed.missing_node)
        except ApiError as error:
            if error.code != 404:
                raise
            return replace(observed, missing_node="")
        return None

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Nobody is left who could stop these pods gracefully."""
        return Plan(
            tuple(
                Delete(
                    PODS,
                    pod,
                    grace_period_seconds=0,
                    on_success=Note(pod, "Normal", "PodGC", observed.reason),
                )
                for pod in observed.pods
            )
        )
