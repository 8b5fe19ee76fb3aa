"""`run`: one node agent over one API connection.  `run_many`: many simulated nodes in one process, fed from one watch."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from random import Random
from typing import Any

from controlplane.kubelet import certificates
from controlplane.kubelet.access import Access
from controlplane.kubelet.agent import NodeAgent
from controlplane.kubelet.config import ConfigurationError, KubeletConfig
from controlplane.kubelet.server import KubeletServer
from controlplane.kubelet.serving import Serving, client_files, follow
from controlplane.machinery.cache import Change
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import Informer
from controlplane.objects.kinds import NODES, PODS, SERVICES

log = logging.getLogger("controlplane.kubelet")

REGISTRATIONS_AT_ONCE = 32

Object = dict[str, Any]


async def run(config: KubeletConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Be the node until `stop` is set; `ready` is called when the API has the node as Ready and its pods are known.

    Raises ConfigurationError, or ConfigError of the client, for what cannot be served; OSError when the port is taken.
    """
    await _run([config], stop=stop, ready=ready)


async def run_many(configs: Sequence[KubeletConfig], *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Be all these nodes (simulated ones) with the first one's kubeconfig, which must speak for them all."""
    if any(config.container_runtime != "simulated" for config in configs):
        raise ConfigurationError("only simulated nodes can share a process")
    await _run(configs, stop=stop, ready=ready)


async def _run(configs: Sequence[KubeletConfig], *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    for config in configs:
        config.check()
    first, clock = configs[0], SystemClock()
    random = Random(first.seed)
    if first.bootstrap_kubeconfig and not await _finished_before(certificates.bootstrap(first, clock, random), stop):
        return
    client = ApiClient(ClientConfig.from_kubeconfig(first.kubeconfig))
    try:
        async with asyncio.TaskGroup() as group:
            fleet = Fleet(configs, client, clock, random, group)
            if first.rotate_certificates and certificates.certificate_path(first).exists():
                fleet.spawn(certificates.Rotation(first, client, clock, random, client.reload).run())
            elif files := client_files(client):
                fleet.spawn(follow(files, client.reload))
            try:
                if await _finished_before(fleet.open(), stop):
                    ready()
                    await stop.wait()
            finally:
                await fleet.close()
    except BaseExceptionGroup as failures:
        if len(failures.exceptions) == 1:  # a port that is taken should read like one
            raise failures.exceptions[0] from None
        raise
    finally:
        await client.close()


async def _finished_before(work: Coroutine[Any, Any, None], stop: asyncio.Event) -> bool:
    """Run `work` to its end, unless `stop` is set before: then cancel it, and False."""
    task = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait([task, stopping], return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            task.result()
        return task.done()
    finally:
        task.cancel()
        stopping.cancel()
        await asyncio.wait([task, stopping])


class Fleet:
    """The nodes of one process and the informers that feed them. Tasks go into `group`, so that none fails unseen."""

    def __init__(
        self,
        configs: Sequence[KubeletConfig],
        client: ApiClient,
        clock: Clock,
        random: Random,
        group: asyncio.TaskGroup,
    ) -> None:
        self._client = client
        self._clock = clock
        self._random = random
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []
        self._stack = AsyncExitStack()
        name = configs[0].node_name if len(configs) == 1 else ""
        self._pods = Informer(client, PODS, random=random, field_selector=f"spec.nodeName={name}" if name else "")
        self._nodes = Informer(client, NODES, random=random, field_selector=f"metadata.name={name}" if name else "")
        self._services = Informer(client, SERVICES, random=random)
        recorder = EventRecorder(client, "kubelet", clock=clock, random=random, host=name)
        self._recorder = recorder
        self.agents = {
            config.node_name: NodeAgent(
                config, client, clock, random, recorder, self._services.cache.in_namespace, self._kubernetes_service
            )
            for config in configs
        }

    def _kubernetes_service(self) -> Mapping[str, Any] | None:
        return self._services.cache.get("default/kubernetes")

    async def open(self) -> None:
        """Register all nodes, then follow their pods; returns when every node is Ready and its pods are known."""
        programs = any(agent.runtime.runs_programs for agent in self.agents.values())
        if programs:
            self.spawn(self._services.run())
        self.spawn(self._recorder.run())
        limit = asyncio.Semaphore(REGISTRATIONS_AT_ONCE)

        async def begin(agent: NodeAgent) -> None:
            async with limit:
                await self._begin(agent)

        await asyncio.gather(*(begin(agent) for agent in self.agents.values()))
        if programs:
            await self._services.wait_synced()
        self._pods.add_handler(self._on_pod)
        self.spawn(self._pods.run())
        self._nodes.add_handler(self._on_node)
        self.spawn(self._nodes.run())
        await self._pods.wait_synced()
        await self._nodes.wait_synced()
        for name, agent in self.agents.items():
            agent.forget_others()
            if self._nodes.cache.get(name) is None:  # deleted between registration and the first look
                agent.registration.on_node({}, gone=True)

    async def _begin(self, agent: NodeAgent) -> None:
        await agent.open()
        config = agent.config
        serving = None
        if config.serves:
            serving = Serving(config, self._client, self._clock, self._random)
            server = KubeletServer(agent, self._clock, Access(self._client, config.node_name))
            agent.server_port = await server.start(
                config.address or config.node_ip,
                config.port,
                serving.context,
            )
            self._stack.push_async_callback(server.stop)
        await agent.register()
        if serving is not None:
            self.spawn(serving.run())
        self.spawn(agent.registration.run())

    def spawn(self, work: Any) -> None:
        """Run until `close`."""
        self._tasks.append(self._group.create_task(work))

    def _on_pod(self, change: Change) -> None:
        """Hand a pod to its node. A pod that vanished and came back with another uid between two events is two pods."""
        before, now = change.old, change.new
        if change.type == "DELETED":
            before = before or now
        if before is not None and (change.type == "DELETED" or now["metadata"]["uid"] != before["metadata"]["uid"]):
            agent = self._agent_of(before)
            if agent is not None:
                agent.on_pod_gone(before)
        if change.type != "DELETED":
            agent = self._agent_of(now)
            if agent is not None:
                agent.on_pod(now)

    def _agent_of(self, pod: Object) -> NodeAgent | None:
        return self.agents.get(pod["spec"].get("nodeName") or "")

    def _on_node(self, change: Change) -> None:
        """Hand a node's own object to it."""
        agent = self.agents.get(change.new["metadata"]["name"])
        if agent is not None:
            agent.registration.on_node(change.new, gone=change.type == "DELETED")

    async def close(self) -> None:
        """Stop following, stop serving, stop every container."""
        for task in self._tasks:
            task.cancel()
        await self._stack.aclose()
        await asyncio.gather(*(agent.close() for agent in self.agents.values()))
