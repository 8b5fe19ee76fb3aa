"""The node as the API sees it: registered, its status told when it changes (and slowly otherwise), its lease renewed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from random import Random
from typing import Any

from controlplane.kubelet import nodestatus
from controlplane.kubelet.config import KubeletConfig
from controlplane.machinery.backoff import Backoff
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.http import ConnectionLost
from controlplane.objects.kinds import LEASES, NODES
from controlplane.objects.meta import format_micro_time
from controlplane.objects.status import ApiError

log = logging.getLogger("controlplane.kubelet")

LEASE_NAMESPACE = "kube-node-lease"
RENEWALS_PER_LEASE = 4  # upstream's share
JITTER = 0.04  # of an interval, so that many nodes do not speak at once

Object = dict[str, Any]


class Registration:
    """`status()` gives the NodeStatus now, from the one before. `register` once, then `run` for ever."""

    def __init__(
        self,
        config: KubeletConfig,
        client: ApiClient,
        clock: Clock,
        random: Random,
        make_status: Callable[[Mapping[str, Any] | None], Object],
        facts: nodestatus.MachineFacts,
    ) -> None:
        self.node: Object = {}
        self._config = config
        self._client = client
        self._clock = clock
        self._random = random
        self._make_status = make_status
        self._facts = facts
        self._told: Object | None = None
        self._told_at = 0.0
        self._lease: Object | None = None
        self._doubted = asyncio.Event()  # the API says that we are not Ready, or not there

    async def register(self) -> Object:
        """Create the Node or take over the one that is there; returns when the API has it as Ready."""
        backoff = Backoff(self._random)
        while True:
            try:
                await self._register_once()
                return self.node
            except ApiError as error:
                log.warning("registering node %s: %s", self._config.node_name, error)
            except ConnectionLost as error:
                log.debug("registering node %s: %s", self._config.node_name, error)
            await asyncio.sleep(backoff.next_delay())

    async def _register_once(self) -> None:
        status = self._make_status(None)
        node = nodestatus.make_node(self._config, self._facts, status)
        try:
            self.node = await self._client.create(NODES, node)
        except ApiError as error:
            if error.reason != "AlreadyExists":
                raise
            labels = {"metadata": {"labels": node["metadata"]["labels"]}}
            self.node = await self._client.patch(NODES, self._config.node_name, labels, type="merge")
        conditions = (self.node.get("status") or {}).get("conditions") or ()
        told = {c["type"]: c.get("lastHeartbeatTime") for c in conditions}
        if told.get("Ready") != status["conditions"][-1]["lastHeartbeatTime"]:
            await self._tell(self._make_status(self.node.get("status")))
        else:
            self._note(status)

    async def run(self) -> None:
        """Renew the lease and tell the status until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._renew_for_ever())
            group.create_task(self._tell_for_ever())

    async def _tell_for_ever(self) -> None:
        while True:
            try:
                async with asyncio.timeout(self._jittered(self._config.node_status_update_frequency_seconds)):
                    await self._doubted.wait()
            except TimeoutError:
                pass
            try:
                await self._tell_if_due()
            except ApiError as error:
                log.warning("status of node %s: %s", self._config.node_name, error)
                if error.code == 404:
                    await self.register()
            except ConnectionLost as error:
                log.debug("status of node %s: %s", self._config.node_name, error)

    async def _tell_if_due(self) -> None:
        doubted = self._doubted.is_set()
        self._doubted.clear()
        status = self._make_status(self.node.get("status") if doubted else self._told)
        changed = self._told is None or nodestatus.without_heartbeats(status) != nodestatus.without_heartbeats(
            self._told
        )
        due = self._clock.monotonic() - self._told_at >= self._config.node_status_report_frequency_seconds
        if changed or due or doubted:
            await self._tell(status)

    def on_node(self, node: Object, gone: bool) -> None:
        """The Node has changed: if somebody holds us for dead, or has deleted us, say at once that we are here."""
        if gone:
            self.node, self._lease = {}, None
            self._doubted.set()
            return
        self.node = node
        ready = [c for c in (node.get("status") or {}).get("conditions") or () if c["type"] == "Ready"]
        if ready and ready[0]["status"] != "True":
            self._doubted.set()

    async def _tell(self, status: Object) -> None:
        self.node = await self._client.patch(
            NODES, self._config.node_name, {"status": status}, type="strategic", subresource="status"
        )
        self._note(status)

    def _note(self, status: Object) -> None:
        self._told, self._told_at = status, self._clock.monotonic()

    async def _renew_for_ever(self) -> None:
        backoff = Backoff(self._random, initial_seconds=0.2, maximum_seconds=self._interval() / 2)
        while True:
            try:
                await self.renew()
            except (ApiError, ConnectionLost) as error:
                log.debug("lease of node %s: %s", self._config.node_name, error)
                self._lease = None
                await asyncio.sleep(backoff.next_delay())
                continue
            backoff.reset()
            await asyncio.sleep(self._jittered(self._interval()))

    def _interval(self) -> float:
        return self._config.node_lease_duration_seconds / RENEWALS_PER_LEASE

    def _jittered(self, seconds: float) -> float:
        return seconds * (1 + JITTER * self._random.random())

    async def renew(self) -> None:
        """Write the lease once. ApiError, ConnectionLost when it could not be."""
        now = format_micro_time(self._clock.now())
        name = self._config.node_name
        if self._lease is None:
            try:
                self._lease = await self._client.get(LEASES, name, LEASE_NAMESPACE)
            except ApiError as error:
                if error.code != 404:
                    raise
                self._lease = await self._client.create(LEASES, self._new_lease(now))
                return
        spec = {**self._lease.get("spec", {}), "holderIdentity": name, "renewTime": now}
        spec["leaseDurationSeconds"] = self._config.node_lease_duration_seconds
        self._lease = await self._client.update(LEASES, {**self._lease, "spec": spec})

    def _new_lease(self, now: str) -> Object:
        name = self._config.node_name
        metadata: Object = {"name": name, "namespace": LEASE_NAMESPACE}
        uid = (self.node.get("metadata") or {}).get("uid")
        if uid:
            metadata["ownerReferences"] = [{"apiVersion": "v1", "kind": "Node", "name": name, "uid": uid}]
        spec = {"holderIdentity": name, "renewTime": now}
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": metadata,
            "spec": {**spec, "leaseDurationSeconds": self._config.node_lease_duration_seconds},
        }
