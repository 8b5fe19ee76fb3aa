"""What is made of the other services: locks, elections, the JSON gateway over all of them, and reflection, which tells of it."""

from collections.abc import Awaitable

from kvstore.api.election import ElectionService
from kvstore.api.gateway import Gateway
from kvstore.api.local_call import Routes
from kvstore.api.lock import LockService
from kvstore.api.reflection import ReflectionService
from kvstore.api.turns import Deletions
from kvstore.mvcc.state import StateMachine
from kvstore.rpc import Http1Answer, Http1Request, Streaming, Unary

__all__ = ["Composed"]


class Composed:
    """Over the `routes` of all other services."""

    def __init__(self, routes: Routes, state: StateMachine) -> None:
        deletions = Deletions(state)
        lock, election = LockService(routes, deletions), ElectionService(routes, deletions, state)
        self._routes: dict[str, Unary | Streaming] = {
            **routes,
            **lock.routes(),
            **election.routes(),
            **ReflectionService().routes(),
        }
        self._gateway = Gateway(self._routes)

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers of every service by path."""
        return self._routes

    def serves(self, path: str) -> bool:
        """Tell whether an HTTP request to `path` is the gateway's."""
        return self._gateway.serves(path)

    def http(self, request: Http1Request) -> Awaitable[Http1Answer]:
        """Answer it."""
        return self._gateway.http(request)
