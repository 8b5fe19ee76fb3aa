"""The service proxy: ClusterIP:port, NodePorts and load balancer addresses lead to ready endpoints (TCP)."""

import asyncio
import logging
from collections.abc import Callable
from random import Random
from typing import Any, Final

from controlplane.machinery.cache import Change
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import InformerFactory
from controlplane.network.config import ProxyConfig
from controlplane.network.listeners import Listeners
from controlplane.network.routes import NOTHING, Address, routes_of, service_of_slice
from controlplane.objects.kinds import ENDPOINT_SLICES, SERVICES
from controlplane.objects.meta import key_of

log = logging.getLogger("controlplane.network")

Object = dict[str, Any]

# An address that something else holds is tried again after this time.
RETRY_SECONDS: Final = 5.0


class ServiceProxy:
    """Follows Services and EndpointSlices. `run` in a task of its own, once both informers have synced."""

    def __init__(
        self, informers: InformerFactory, recorder: EventRecorder, config: ProxyConfig, random: Random
    ) -> None:
        self.listeners = Listeners(random, self._could_not_bind)
        self._config = config
        self._recorder = recorder
        self._services: dict[str, Object] = {}
        self._slices: dict[str, dict[str, Object]] = {}
        self._dirty: dict[str, None] = {}
        self._wake = asyncio.Event()
        self._told: set[tuple[str, str]] = set()
        self.services = informers.informer(SERVICES)
        self.endpoint_slices = informers.informer(ENDPOINT_SLICES)
        self.services.add_handler(self._on_service)
        self.endpoint_slices.add_handler(self._on_slice)

    async def run(self, ready: Callable[[], None]) -> None:
        """Follow until cancelled; `ready` is called when all routes known at the start are served."""
        await self.services.wait_synced()
        await self.endpoint_slices.wait_synced()
        try:
            await self._flush()
            ready()
            while True:
                await self._wait()
                await self._flush()
                await self.listeners.retry()
        finally:
            await self.listeners.close()

    async def _wait(self) -> None:
        timeout = RETRY_SECONDS if self.listeners.may_succeed_later else None
        try:
            async with asyncio.timeout(timeout):
                await self._wake.wait()
        except TimeoutError:
            log.debug("trying addresses again")
        self._wake.clear()

    async def _flush(self) -> None:
        while self._dirty:
            key = next(iter(self._dirty))
            del self._dirty[key]
            service = self._services.get(key)
            routes = NOTHING
            if service is not None:
                routes = routes_of(service, self._slices.get(key, {}).values(), self._config.node_addresses)
                for port in routes.unsupported:
                    self._tell(service, "UnsupportedProtocol", f"the service proxy does not forward {port} yet")
            await self.listeners.set(key, routes.by_address)

    def _on_service(self, change: Change) -> None:
        key = key_of(change.new)
        if change.type == "DELETED":
            self._services.pop(key, None)
            self._told = {entry for entry in self._told if entry[0] != key}
        else:
            self._services[key] = change.new
        self._mark(key)

    def _on_slice(self, change: Change) -> None:
        name = key_of(change.new)
        for obj in (change.old, change.new):
            key = service_of_slice(obj) if obj is not None else ""
            if key and self._slices.get(key, {}).pop(name, None) is not None:
                self._mark(key)
                if not self._slices[key]:
                    del self._slices[key]
        key = service_of_slice(change.new)
        if key and change.type != "DELETED":
            self._slices.setdefault(key, {})[name] = change.new
            self._mark(key)

    def _mark(self, key: str) -> None:
        self._dirty[key] = None
        self._wake.set()

    def _could_not_bind(self, owner: str, address: Address, error: OSError) -> None:
        service = self._services.get(owner)
        if service is not None:
            reason = error.strerror or str(error)
            self._tell(service, "FailedToListen", f"node {self._config.node_name} cannot listen on {address}: {reason}")

    def _tell(self, service: Object, reason: str, message: str) -> None:
        """Once per Service and message: log and Event."""
        entry = (key_of(service), message)
        if entry not in self._told:
            self._told.add(entry)
            log.warning("%s: %s", *entry)
            self._recorder.event(service, "Warning", reason, message)


async def run(config: ProxyConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Proxy until `stop` is set; `ready` is called when all Services known at the start are served."""
    client = ApiClient(ClientConfig.from_kubeconfig(config.kubeconfig, user_agent="kube-proxy"))
    random = Random(config.seed)
    recorder = EventRecorder(client, "kube-proxy", clock=SystemClock(), random=random, host=config.node_name)
    informers = InformerFactory(client, random=random)
    proxy = ServiceProxy(informers, recorder, config, random)
    tasks = [asyncio.create_task(recorder.run()), asyncio.create_task(proxy.run(ready))]
    stopping = asyncio.create_task(stop.wait())
    informers.start()
    try:
        done, _ = await asyncio.wait((*tasks, stopping), return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in (*tasks, stopping):
            task.cancel()
        await asyncio.gather(*tasks, stopping, return_exceptions=True)
        await informers.close()
        await client.close()
