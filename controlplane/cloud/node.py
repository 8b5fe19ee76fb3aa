"""cloud-node-controller: a Node gets its provider id, zone, region and addresses from its machine.

It then loses the taint that says that it waits for them.
"""

import logging
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from controlplane.cloud.provider import Instance, Provider, ProviderError
from controlplane.machinery.actions import Note, Patch, Plan
from controlplane.machinery.client import ApiClient
from controlplane.machinery.controller import Caches, Kind, Watch
from controlplane.objects.kinds import NODES
from controlplane.objects.meta import labels_of, name_of, resource_version_of, uid_of

log = logging.getLogger("controlplane.cloud")

Object = dict[str, Any]

UNINITIALIZED = "node.cloudprovider.kubernetes.io/uninitialized"
ZONE = "topology.kubernetes.io/zone"
REGION = "topology.kubernetes.io/region"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
RETRY_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Observed:
    """A node and its machine, if that is known."""

    node: Object
    instance: Instance | None = None


def _concerns_us(old: Object, new: Object) -> bool:
    def seen(node: Object) -> tuple[Any, ...]:
        return node.get("spec"), labels_of(node), (node.get("status") or {}).get("addresses")

    return seen(old) != seen(new)


class CloudNodeController:
    """A Reconciler of Nodes."""

    NAME = "cloud-node-controller"
    WATCHES: tuple[Watch, ...] = (Kind(NODES, _concerns_us),)

    def __init__(self, provider: Provider) -> None:
        self._provider = provider

    def observe(self, key: str, caches: Caches, /) -> Observed | None:
        """The node, unless it is going."""
        node = caches[NODES].get(key)
        if node is None or "deletionTimestamp" in node["metadata"]:
            return None
        return Observed(node)

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Ask the cloud."""
        try:
            return replace(observed, instance=await self._provider.instance(observed.node))
        except ProviderError as error:
            log.warning("node %s: %s", name_of(observed.node), error)
            return observed

    def plan(self, observed: Observed, now: datetime, /) -> Plan:
        """What the node lacks of what its machine says. A machine that is not known yet is looked for again."""
        node, instance = observed.node, observed.instance
        taints = (node.get("spec") or {}).get("taints") or []
        waits = any(taint["key"] == UNINITIALIZED for taint in taints)
        if instance is None:
            return Plan(again_after=RETRY_SECONDS if waits else None)
        changes: Object = {}
        spec: Object = {}
        if not (node.get("spec") or {}).get("providerID"):
            spec["providerID"] = instance.provider_id
        if waits:
            spec["taints"] = [taint for taint in taints if taint["key"] != UNINITIALIZED] or None
        labels = {key: value for key, value in _labels(instance).items() if labels_of(node).get(key) != value}
        if spec:
            changes["spec"] = spec
        metadata: Object = {"labels": labels} if labels else {}
        actions: tuple[Patch, ...] = ()
        if spec or labels:
            # The taints are a list: a patch replaces all of them, so it must be of the version that was read.
            metadata["resourceVersion"] = resource_version_of(node)
            note = Note(node, "Normal", "Synced", "Node synced successfully") if waits else None
            actions = (Patch(NODES, name_of(node), "", {"metadata": metadata, **changes}, on_success=note),)
        return Plan(actions=actions, status=_addresses(node, instance))


def _labels(instance: Instance) -> dict[str, str]:
    labels = {INSTANCE_TYPE: instance.instance_type, ZONE: instance.zone, REGION: instance.region}
    return {key: value for key, value in labels.items() if value}


def _addresses(node: Object, instance: Instance) -> Patch | None:
    """The cloud's addresses first, then what the node itself has reported and the cloud does not know."""
    reported = (node.get("status") or {}).get("addresses") or []
    known = {(entry["type"], entry["address"]) for entry in reported}
    if known >= set(instance.addresses):
        return None
    kinds = {kind for kind, _ in instance.addresses}
    addresses = [{"type": kind, "address": address} for kind, address in instance.addresses]
    addresses += [entry for entry in reported if entry["type"] not in kinds]
    patch = {"metadata": {"uid": uid_of(node)}, "status": {"addresses": addresses}}
    return Patch(NODES, name_of(node), "", patch, subresource="status")
