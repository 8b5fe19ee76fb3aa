"""A kubelet between a fake API and either real processes (real time) or simulated containers (virtual time)."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

from controlplane.kubelet.agent import NodeAgent
from controlplane.kubelet.config import KubeletConfig
from controlplane.kubelet.model import Policy
from controlplane.kubelet.runtimes.port import ContainerKey, LogOptions
from controlplane.kubelet.service import Fleet
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.objects.kinds import PODS
from tests.controlplane.fakes import FakeApi

Object = dict[str, Any]
# Pods of a test run have addresses of their own, so that two runs at once on one machine do not meet on a port.
PODS_PREFIX = f"127.{200 + os.getpid() % 50}.{os.getpid() // 50 % 256}"
QUICK = Policy(backoff_base_seconds=0.2, backoff_limit_seconds=1.0, config_retry_seconds=0.2, kill_extra_seconds=0.2)


class Harness:
    """`api` and the nodes' agents."""

    def __init__(self, api: FakeApi, fleet: Fleet) -> None:
        self.api = api
        self.fleet = fleet
        self._news = asyncio.Event()
        tell = api._wake

        def wake() -> None:
            tell()
            self._news.set()

        api._wake = wake  # type: ignore[method-assign]

    @property
    def agent(self) -> NodeAgent:
        return next(iter(self.fleet.agents.values()))

    def pod(self, name: str = "web") -> Object:
        return self.api.find(PODS, name, "default")

    def state(self, name: str = "web", container: str = "main") -> Object:
        status = self.pod(name)["status"]
        entries = [*status.get("initContainerStatuses", ()), *status.get("containerStatuses", ())]
        return next((entry for entry in entries if entry["name"] == container), {})

    async def until(self, predicate: Callable[[], bool], timeout_seconds: float = 20.0) -> None:
        """Wait for something about the API's objects; asked after every change of one."""
        async with asyncio.timeout(timeout_seconds):
            while True:
                self._news.clear()
                if predicate():
                    return
                await self._news.wait()

    def phase(self, name: str = "web") -> str:
        return str(self.pod(name)["status"].get("phase"))

    def is_ready(self, name: str = "web") -> bool:
        conditions = self.pod(name)["status"].get("conditions") or ()
        return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)

    def is_gone(self, name: str = "web") -> bool:
        return not any(pod["metadata"]["name"] == name for pod in self.api.all(PODS))

    async def until_left(self, name: str, timeout_seconds: float = 5.0) -> None:
        """Wait until nothing of a deleted pod is on the node."""
        worker = self.agent.find("default", name)
        if worker is not None:
            async with asyncio.timeout(timeout_seconds):
                await asyncio.wait([worker.task])

    def chunks(self, name: str = "web", container: str = "main", **options: Any) -> AsyncIterator[bytes]:
        worker = self.agent.find("default", name)
        assert worker is not None
        return self.agent.runtime.logs(ContainerKey(worker.uid, container), LogOptions(**options))

    async def logs(self, name: str = "web", container: str = "main", **options: Any) -> str:
        """The whole log; with follow=True when the container has ended."""
        return b"".join([chunk async for chunk in self.chunks(name, container, **options)]).decode()

    async def until_logged(self, text: str, name: str = "web", timeout_seconds: float = 20.0) -> None:
        """Wait until the pod has written `text`; AssertionError when it ends without."""
        seen = ""
        async with asyncio.timeout(timeout_seconds):
            async for chunk in self.chunks(name, follow=True):
                seen += chunk.decode()
                if text in seen:
                    return
        raise AssertionError(f"{text!r} is not in {seen!r}")


@asynccontextmanager
async def kubelet(
    *configs: KubeletConfig, api: FakeApi | None = None, clock: Clock | None = None
) -> AsyncIterator[Harness]:
    """Nodes that run until the block ends; no process is left then."""
    api = api or FakeApi()
    async with asyncio.TaskGroup() as group:
        fleet = Fleet(configs, api.client(), clock or SystemClock(), Random(1), group)
        try:
            await fleet.open()
            yield Harness(api, fleet)
        finally:
            await fleet.close()


def process_config(root: Path, **fields: Any) -> KubeletConfig:
    """A node with real processes."""
    fields.setdefault("policy", QUICK)
    fields.setdefault("pod_cidr", f"{PODS_PREFIX}.0/24")
    return KubeletConfig(
        kubeconfig="",
        node_name="n1",
        node_ip="127.240.0.1",
        root_dir=str(root),
        container_path=os.environ["PATH"],
        **fields,
    )


def simulated_config(name: str = "n1", **fields: Any) -> KubeletConfig:
    """A node without processes."""
    return KubeletConfig(kubeconfig="", node_name=name, container_runtime="simulated", **fields)
