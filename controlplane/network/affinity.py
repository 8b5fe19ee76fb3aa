"""How the service proxy chooses an endpoint.  Pure.

In turn, or (sessionAffinity: ClientIP) always the same for one client. The latter is rendezvous hashing instead of a table: all
proxies of a cluster agree without talking, and an endpoint that goes moves only its own clients.
"""

from hashlib import blake2b

from controlplane.network.forwarder import Backend


class EndpointBalancer:
    """A Balancer (see forwarder) whose endpoints may be replaced at any time. `first_turn` keeps proxies out of step."""

    def __init__(self, backends: tuple[Backend, ...] = (), *, by_client: bool = False, first_turn: int = 0) -> None:
        self.backends = backends
        self.by_client = by_client
        self._turn = first_turn

    def choose(self, client_host: str, tried: frozenset[Backend]) -> Backend | None:
        """An endpoint not tried yet."""
        candidates = [backend for backend in self.backends if backend not in tried] if tried else self.backends
        if not candidates:
            return None
        if self.by_client:
            return max(candidates, key=lambda backend: _weight(client_host, backend))
        self._turn += 1
        return candidates[self._turn % len(candidates)]

    def connected(self, backend: Backend) -> None:
        """Nothing is counted."""

    def disconnected(self, backend: Backend) -> None:
        """Nothing is counted."""

    def refused(self, backend: Backend) -> None:
        """The endpoints controller will hear of it from the kubelet's probes, not from us."""

    def fell_silent(self, backend: Backend) -> None:
        """Nothing is counted."""


def _weight(client_host: str, backend: Backend) -> bytes:
    return blake2b(f"{client_host}|{backend}".encode(), digest_size=8).digest()
