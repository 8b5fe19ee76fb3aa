"""The proxy's listeners: made, changed and closed to follow the wanted routes. Established connections are left alone."""

import errno
import logging
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from controlplane.network.affinity import EndpointBalancer
from controlplane.network.forwarder import Forwarder, listening_socket
from controlplane.network.routes import Address, Route

log = logging.getLogger("controlplane.network")

RETRYABLE = frozenset({errno.EADDRINUSE})


@dataclass(slots=True)
class _Listener:
    owner: str
    route: Route
    balancer: EndpointBalancer
    forwarder: Forwarder
    sock: socket.socket


class Listeners:
    """address -> listener. `on_failure(owner, address, error)` is told once of each address that cannot be bound."""

    def __init__(self, random: Random, on_failure: Callable[[str, Address, OSError], None]) -> None:
        self._random = random
        self._on_failure = on_failure
        self._open: dict[Address, _Listener] = {}
        self._draining: set[Forwarder] = set()
        self._claims: dict[Address, dict[str, Route]] = {}
        self._wanted: dict[str, Mapping[Address, Route]] = {}
        self._failed: dict[Address, bool] = {}

    def __len__(self) -> int:
        """How many are open."""
        return len(self._open)

    @property
    def may_succeed_later(self) -> bool:
        """Is there an address that is only in use, so that trying again makes sense?"""
        return any(self._failed.values())

    def addresses(self) -> list[Address]:
        """Where connections are accepted now."""
        return sorted(self._open)

    async def set(self, owner: str, routes: Mapping[Address, Route]) -> None:
        """Make these the routes of a Service (key); an address that two Services want is the first one's, by key."""
        before = self._wanted.pop(owner, {})
        if routes:
            self._wanted[owner] = routes
        for address in before.keys() - routes.keys():
            claims = self._claims[address]
            del claims[owner]
            if not claims:
                del self._claims[address]
        for address, route in routes.items():
            self._claims.setdefault(address, {})[owner] = route
        for address in sorted(before.keys() | routes.keys()):
            await self._settle(address)

    async def retry(self) -> None:
        """Try again what could not be bound."""
        for address, retryable in list(self._failed.items()):
            if retryable:
                await self._settle(address)

    async def close(self) -> None:
        """Close all listeners and reset all connections."""
        for address in list(self._open):
            self._close(address)
        for forwarder in list(self._draining):
            await forwarder.close()
        self._draining.clear()

    async def _settle(self, address: Address) -> None:
        claims = self._claims.get(address)
        listener = self._open.get(address)
        if not claims:
            self._failed.pop(address, None)
            if listener is not None:
                self._close(address)
            return
        owner = min(claims)
        route = claims[owner]
        if listener is None:
            await self._bind(address, owner, route)
        else:
            listener.owner, listener.route = owner, route
            listener.balancer.backends, listener.balancer.by_client = route.backends, route.by_client

    async def _bind(self, address: Address, owner: str, route: Route) -> None:
        try:
            sock = listening_socket(address.host, address.port, reuse_port=True)
        except OSError as error:
            if address not in self._failed:
                self._on_failure(owner, address, error)
            self._failed[address] = error.errno in RETRYABLE
            return
        self._failed.pop(address, None)
        balancer = EndpointBalancer(
            route.backends, by_client=route.by_client, first_turn=self._random.randrange(len(route.backends))
        )
        forwarder = Forwarder(balancer)
        self._open[address] = _Listener(owner, route, balancer, forwarder, sock)
        await forwarder.listen(sock)
        log.debug("%s: listening on %s for %d endpoints", owner, address, len(route.backends))

    def _close(self, address: Address) -> None:
        listener = self._open.pop(address)
        listener.forwarder.stop_listening(listener.sock)
        self._draining = {forwarder for forwarder in self._draining if len(forwarder)} | {listener.forwarder}
