"""cloud-node-lifecycle-controller: a Node that is not ready and whose machine is gone is deleted.

One whose machine is shut down is tainted. Nodes that this cloud never had a machine for are left alone.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.cloud.provider import Instance, Provider, ProviderError
from controlplane.machinery.actions import Action, Delete, Note, Patch, Plan
from controlplane.machinery.client import ApiClient
from controlplane.machinery.controller import Caches, Kind, Watch
from controlplane.objects.kinds import NODES
from controlplane.objects.meta import condition_of, name_of, resource_version_of

log = logging.getLogger("controlplane.cloud")

Object = dict[str, Any]

SHUTDOWN = "node.cloudprovider.kubernetes.io/shutdown"


@dataclass(frozen=True, slots=True)
class Observed:
    """A node that is not ready, or is marked as shut down, and what its cloud says; `error`: the cloud could not be asked."""

    node: Object
    is_ready: bool
    instance: Instance | None = None
    error: str = ""


def _concerns_us(old: Object, new: Object) -> bool:
    return _is_ready(old) != _is_ready(new) or (old.get("spec") or {}) != (new.get("spec") or {})


def _is_ready(node: Object) -> bool:
    condition = condition_of(node, "Ready")
    return condition is not None and condition.get("status") == "True"


def _is_marked(node: Object) -> bool:
    return any(taint["key"] == SHUTDOWN for taint in (node.get("spec") or {}).get("taints") or ())


class CloudNodeLifecycleController:
    """A Reconciler of Nodes. While a node is not ready its machine is looked at every `period_seconds`."""

    NAME = "cloud-node-lifecycle-controller"
    WATCHES: tuple[Watch, ...] = (Kind(NODES, _concerns_us),)

    def __init__(self, provider: Provider, period_seconds: float) -> None:
        self._provider = provider
        self._period_seconds = period_seconds

    def observe(self, key: str, caches: Caches, /) -> Observed | None:
        """The node, if there is reason to ask for its machine."""
        node = caches[NODES].get(key)
        if node is None or "deletionTimestamp" in node["metadata"] or not self._provider.manages(node):
            return None
        # A node that never reported is only starting.
        if condition_of(node, "Ready") is None or (_is_ready(node) and not _is_marked(node)):
            return None
        return Observed(node, _is_ready(node))

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Ask the cloud."""
        try:
            return replace(observed, instance=await self._provider.instance(observed.node))
        except ProviderError as error:
            return replace(observed, error=str(error))

    def plan(self, observed: Observed, now: datetime, /) -> Plan:
        """Delete, mark, unmark, or look again."""
        node, instance = observed.node, observed.instance
        if observed.error:
            log.warning("node %s: %s", name_of(node), observed.error)
            return Plan(again_after=self._period_seconds)
        if observed.is_ready:
            return Plan(actions=(_mark(node, False),))
        if instance is None:
            text = f"Deleting node {name_of(node)} because it does not exist in the cloud provider"
            # Only as it was read: a node that has just become ready again stays.
            return Plan(
                actions=(Delete(NODES, node, at_version=True, on_success=Note(node, "Normal", "DeletingNode", text)),)
            )
        actions: tuple[Action, ...] = ()
        if instance.is_shut_down != _is_marked(node):
            actions = (_mark(node, instance.is_shut_down),)
        return Plan(actions=actions, again_after=self._period_seconds)


def _mark(node: Object, is_shut_down: bool) -> Patch:
    taints = [taint for taint in (node.get("spec") or {}).get("taints") or () if taint["key"] != SHUTDOWN]
    if is_shut_down:
        taints.append({"key": SHUTDOWN, "effect": "NoSchedule"})
    patch = {"metadata": {"resourceVersion": resource_version_of(node)}, "spec": {"taints": taints or None}}
    return Patch(NODES, name_of(node), "", patch)
