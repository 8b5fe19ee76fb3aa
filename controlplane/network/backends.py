"""How the load balancer chooses between the masters: the healthiest, of these the least used, of these in turn.  Pure."""

import enum
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from controlplane.network.forwarder import Backend


class Health(enum.IntEnum):
    """Smaller is better. DOWN backends are still tried when there is nothing better: nothing is lost by asking."""

    READY = 0
    UNREADY = 1
    DOWN = 2


@dataclass(slots=True)
class _State:
    order: int
    health: Health = Health.READY
    connections: int = 0
    last_chosen: int = 0


@dataclass(slots=True)
class LeastConnections:
    """A Balancer (see forwarder). `on_suspicion` is told of each refusal or silence: the cue for a probe."""

    backends: Iterable[Backend]
    on_suspicion: Callable[[Backend], None] = lambda backend: None
    _states: dict[Backend, _State] = field(init=False)
    _turn: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        self._states = {backend: _State(order) for order, backend in enumerate(self.backends)}

    def choose(self, client_host: str, tried: frozenset[Backend]) -> Backend | None:
        """The best backend not tried yet."""
        candidates = [
            (state.health, state.connections, state.last_chosen, state.order, backend)
            for backend, state in self._states.items()
            if backend not in tried
        ]
        if not candidates:
            return None
        chosen = min(candidates)[-1]
        self._turn += 1
        self._states[chosen].last_chosen = self._turn
        return chosen

    def connected(self, backend: Backend) -> None:
        """One connection more. A backend that answers is not down, whatever the probes say next."""
        state = self._states[backend]
        state.connections += 1
        if state.health is Health.DOWN:
            state.health = Health.UNREADY

    def disconnected(self, backend: Backend) -> None:
        """One connection less."""
        self._states[backend].connections -= 1

    def refused(self, backend: Backend) -> None:
        """No connection: avoid it until a probe says otherwise."""
        self._states[backend].health = Health.DOWN
        self.on_suspicion(backend)

    def fell_silent(self, backend: Backend) -> None:
        """Suspicious, no more."""
        self.on_suspicion(backend)

    def health(self, backend: Backend) -> Health:
        """What is believed of it."""
        return self._states[backend].health

    def set_health(self, backend: Backend, health: Health) -> None:
        """What a probe found."""
        self._states[backend].health = health

    def connections(self, backend: Backend) -> int:
        """How many stand."""
        return self._states[backend].connections
