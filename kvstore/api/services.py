"""The registry of services, and what runs behind them, wired together."""

from collections.abc import Awaitable, Callable
from random import Random, SystemRandom
from typing import Protocol

from kvstore.api.access import Access
from kvstore.api.auth import AuthService
from kvstore.api.cluster import ClusterService
from kvstore.api.compactor import AutoCompactor, Retention
from kvstore.api.composed import Composed
from kvstore.api.corruption import CorruptionCheck, CorruptionOptions
from kvstore.api.health import HealthService
from kvstore.api.kv import KvService
from kvstore.api.leader_guard import LeaderGuard, Timer
from kvstore.api.learner_gate import gated
from kvstore.api.lease import LeaseService
from kvstore.api.lessor import Lessor
from kvstore.api.maintenance import MaintenanceService
from kvstore.api.metrics import Metrics, Sources
from kvstore.api.node import ApiLimits, MemberPort, Node
from kvstore.api.passwords import Passwords
from kvstore.api.scrubber import Scrubber
from kvstore.api.slices import Slices
from kvstore.api.snapshot import SnapshotService
from kvstore.api.space import SpaceWatch
from kvstore.api.tokens import AuthOptions, parse_auth_token
from kvstore.api.watch import WatchService
from kvstore.api.watch_hub import WatchHub
from kvstore.member.figures import Figures
from kvstore.mvcc.state import StateMachine
from kvstore.rpc import Http1Answer, Http1Request, Streaming, Unary

__all__ = ["Services"]

PROGRESS_JITTER = 0.1  # of the interval, so that members do not notify in step


class Loop(Protocol):
    """What the services need of the running event loop."""

    def time(self) -> float: ...
    def call_soon(self, callback: Callable[[], object], /) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer: ...


class Services:
    """All services of one member. Made before the first request; `stop` before the member stops.

    `secrets` draws what nobody may guess (tokens, salts): a simulation brings its own. `wall_clock()` is seconds since 1970:
    signed tokens end by it. `figures` are what the member counts. Raises ValueError and OSError from `auth`.
    """

    def __init__(
        self,
        member: MemberPort,
        state: StateMachine,
        limits: ApiLimits,
        random: Random,
        loop: Loop,
        *,
        auth: AuthOptions | None = None,
        retention: Retention | None = None,
        corruption: CorruptionOptions | None = None,
        secrets: Random | None = None,
        wall_clock: Callable[[], float] | None = None,
        figures: Figures | None = None,
    ) -> None:
        access = _make_access(member, state, loop, auth or AuthOptions(), secrets or SystemRandom(), wall_clock)
        node = Node(member, state, limits, access)
        self._loop, self._random, self._limits = loop, random, limits
        self._is_stopped = False
        self.hub = WatchHub(state, loop.call_soon)
        self.lessor = Lessor(node, loop.time, loop.call_later)
        self.scrubber = Scrubber(state, loop.call_later)
        guard = LeaderGuard(node, loop.call_later)
        watch = WatchService(node, self.hub, guard)
        self.slices = Slices(loop.time, loop.call_later)
        self.space = SpaceWatch(node, loop.call_later)
        compactor = AutoCompactor(node, retention or Retention(), loop.time, loop.call_later)
        corruptions = CorruptionCheck(node, self.slices, corruption or CorruptionOptions(), loop.call_later)
        self._background = (self.lessor, self.scrubber, self.slices, self.space, compactor, corruptions)
        self._health = HealthService(node, lambda: metrics.render())
        self._snapshots = SnapshotService(node, loop)
        services = (
            KvService(node, self.scrubber, self.slices),
            watch,
            LeaseService(node, self.lessor, guard, random, loop.call_later, self.slices),
            ClusterService(node),
            MaintenanceService(node, self.slices),
            self._snapshots,
            AuthService(node),
            self._health,
        )
        routes = {path: handler for service in services for path, handler in service.routes().items()}
        guarded = {path: gated(member, path, access.guarded(path, handler)) for path, handler in routes.items()}
        self._composed = Composed(guarded, state)
        self.sources = Sources(node, self.hub, watch, self.lessor, self._health, self._composed.routes(), figures or Figures())
        metrics = Metrics(self.sources)
        self._schedule_progress()

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers of all services by path."""
        return self._composed.routes()

    def http(self, request: Http1Request) -> Awaitable[Http1Answer]:
        """Answer a request that is not gRPC."""
        return self._composed.http(request) if self._composed.serves(request.path) else self._health.http(request)

    def stop(self) -> None:
        """Expire and scrub nothing from now on."""
        self._is_stopped = True
        for worker in self._background:
            worker.stop()
        self._snapshots.stop()

    def _schedule_progress(self) -> None:
        interval = self._limits.watch_progress_notify_interval_seconds
        self._loop.call_later(interval * (1 + PROGRESS_JITTER * self._random.random()), self._notify_progress)

    def _notify_progress(self) -> None:
        if not self._is_stopped:
            self.hub.notify_progress()
            self._schedule_progress()


def _make_access(
    member: MemberPort,
    state: StateMachine,
    loop: Loop,
    options: AuthOptions,
    secrets: Random,
    wall_clock: Callable[[], float] | None,
) -> Access:
    tokens = parse_auth_token(options, secrets, loop.time, wall_clock or loop.time)
    passwords = Passwords(secrets, options.bcrypt_cost)
    return Access(state, member.read, tokens, passwords, by_certificate=options.client_cert_auth)
