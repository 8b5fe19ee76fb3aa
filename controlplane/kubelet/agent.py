"""One node: its pods' workers over one runtime, its registration, its server.

`NodeAgent` has no informers of its own: pods come in by `on_pod` and `on_pod_gone`, so that one process can feed thousands of
simulated nodes from one watch (`run_many` in service.py).
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from controlplane.kubelet import nodestatus, podstatus, recall
from controlplane.kubelet.addresses import PodAddresses, default_cidr
from controlplane.kubelet.config import KubeletConfig
from controlplane.kubelet.images import ImageMap, load
from controlplane.kubelet.model import Pod
from controlplane.kubelet.registration import Registration
from controlplane.kubelet.resources import admit, machine_capacity
from controlplane.kubelet.runtimes.port import Runtime
from controlplane.kubelet.runtimes.process import ProcessRuntime
from controlplane.kubelet.runtimes.simulated import SimulatedRuntime
from controlplane.kubelet.sources import ObjectSource
from controlplane.kubelet.starter import Shared
from controlplane.kubelet.worker import PodWorker
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.events import EventRecorder
from controlplane.objects.quantity import Quantity

log = logging.getLogger("controlplane.kubelet")

PODS_MODE = 0o711  # Secrets lie below: other users of the machine can enter a pod's directory only if they know its uid

Object = dict[str, Any]


class NodeAgent:
    """`open` first; then pods may come; `close` stops every container. `services_in`: Services by namespace, cached."""

    def __init__(
        self,
        config: KubeletConfig,
        client: ApiClient,
        clock: Clock,
        random: Random,
        recorder: EventRecorder,
        services_in: Callable[[str], Sequence[Mapping[str, Any]]] = lambda namespace: (),
        kubernetes_service: Callable[[], Mapping[str, Any] | None] = lambda: None,
    ) -> None:
        self.config = config
        self.root = Path(config.root_dir)
        self.runtime = make_runtime(config, clock)
        self.capacity: Mapping[str, Quantity] = {}
        self.workers: dict[str, PodWorker] = {}
        self.server_port = 0
        self._client = client
        self._clock = clock
        self._random = random
        self._recorder = recorder
        self._sources = ObjectSource(client, random)
        self._facts = nodestatus.machine_facts()
        self._services_in = services_in
        self._kubernetes_service = kubernetes_service
        self._shared: Shared | None = None
        self.registration = Registration(config, client, clock, random, self._status, self._facts)

    async def open(self) -> None:
        """Prepare the directory and the runtime; find out what the node has."""
        if self.runtime.runs_programs:
            (self.root / "pods").mkdir(parents=True, exist_ok=True)
            (self.root / "pods").chmod(PODS_MODE)
        disk = self.root if self.root.is_dir() else Path("/")
        self.capacity = {**machine_capacity(disk, self.config.max_pods), **self.config.capacity}
        await self.runtime.open()

    async def register(self) -> None:
        """Tell the API of the node, and take pod addresses from the range it gives. Say once what the kernel refuses."""
        node = await self.registration.register()
        cidr = self.config.pod_cidr or (node.get("spec") or {}).get("podCIDR")
        images = load(Path(self.config.image_map)) if self.config.image_map else ImageMap()
        self._shared = Shared(
            config=self.config,
            client=self._client,
            runtime=self.runtime,
            clock=self._clock,
            random=self._random,
            recorder=self._recorder,
            sources=self._sources,
            images=images,
            addresses=PodAddresses(cidr or default_cidr(self.config.node_name, self.config.node_ip)),
            allocatable=self.capacity,
            services_in=self._services_in,
            kubernetes_service=self._kubernetes_service,
            root=self.root,
        )
        self.event("Normal", "Starting", "Starting kubelet.")
        if isinstance(self.runtime, ProcessRuntime) and self.runtime.isolation == "none":
            text = (
                f"No mount namespaces here ({self.runtime.isolation_trouble}): volumes are not at their mountPath but "
                "below the container's working directory, which PILOTHOUSE_CONTAINER_ROOT names"
            )
            log.warning("node %s: %s", self.config.node_name, text)
            self.event("Warning", "NoMountNamespaces", text)

    def event(self, type: str, reason: str, message: str) -> None:
        """An Event on the node."""
        metadata = {"name": self.config.node_name, "uid": self.config.node_name}  # upstream gives nodes this uid here
        about = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        self._recorder.event(about, "Warning" if type == "Warning" else "Normal", reason, message)

    def _status(self, before: Mapping[str, Any] | None) -> Object:
        pressure = nodestatus.Pressure()
        if self.runtime.runs_programs:
            pressure = nodestatus.read_pressure(self.root)
        version = f"{self.runtime.name}://{self.runtime.version}"
        return nodestatus.node_status(
            self.config, self._facts, self.capacity, version, self.server_port, pressure, before, self._clock.now()
        )

    # Pods

    def on_pod(self, pod: Object) -> None:
        """A pod of this node is new or has changed."""
        uid = str(pod["metadata"]["uid"])
        worker = self.workers.get(uid)
        if worker is not None:
            worker.update(pod)
            return
        assert self._shared is not None, "register comes first"
        now = self._clock.now()
        memory = recall.restore(pod, now)
        if not (pod.get("status") or {}).get("startTime") and memory.phase not in podstatus.TERMINAL:
            refused = admit(pod, self._running_pods(), self.capacity)
            if refused is not None:
                memory, _ = recall.reject(pod, *refused, now)
                self._recorder.event({"apiVersion": "v1", "kind": "Pod", **pod}, "Warning", *refused)
        self.workers[uid] = PodWorker(self._shared, pod, memory, self._on_worker_end)

    def on_pod_gone(self, pod: Object) -> None:
        """A pod's object has been deleted."""
        worker = self.workers.get(str(pod["metadata"]["uid"]))
        if worker is not None:
            worker.gone()

    def _running_pods(self) -> Iterator[Pod]:
        return (worker.pod for worker in self.workers.values() if not worker.is_terminal)

    def _on_worker_end(self, worker: PodWorker) -> None:
        self.workers.pop(worker.uid, None)
        if self.runtime.runs_programs:
            shutil.rmtree(self.root / "pods" / worker.uid, ignore_errors=True)

    def forget_others(self) -> None:
        """Once all pods are known: remove what pods that are no more have left on disk."""
        folder = self.root / "pods"
        if self.runtime.runs_programs and folder.is_dir():
            for entry in folder.iterdir():
                if entry.name not in self.workers:
                    shutil.rmtree(entry, ignore_errors=True)

    def find(self, namespace: str, name: str) -> PodWorker | None:
        """The worker of a pod by its name; the newest where two had the same."""
        found = [
            w for w in self.workers.values()
            if w.pod["metadata"]["name"] == name and w.pod["metadata"]["namespace"] == namespace
        ]  # fmt: skip
        return found[-1] if found else None

    async def close(self) -> None:
        """Stop every container within the grace; the pods stay bound to the node and start again with it."""
        workers = list(self.workers.values())
        for worker in workers:
            worker.task.cancel()
        for worker in workers:
            await worker.close()
        await self.runtime.close(self.config.shutdown_grace_seconds)
        await self._sources.close()


def make_runtime(config: KubeletConfig, clock: Clock) -> Runtime:
    """The runtime that the configuration names."""
    if config.container_runtime == "simulated":
        return SimulatedRuntime(config.node_name, clock)

    path = config.container_path or os.environ.get("PATH") or os.defpath
    return ProcessRuntime(config.node_name, Path(config.root_dir), clock, path, config.cluster)
