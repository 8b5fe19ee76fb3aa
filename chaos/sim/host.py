"""One simulated host and the process that lives on it: the shipped Member and Services over simulated ports.

    host = Host(world, "m1", number); host.start(); host.crash(); host.pause(); host.resume(); host.stop()

Everything that the process does runs through `Process.run`: nothing when it is dead, later when it is paused. What it
wakes for itself (`call_soon`) happens `SOON_SECONDS` later, so that what arrives together shares a turn, as in a loop.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING

from chaos.sim.boundary import Boundaries, SimulatedCrash
from chaos.sim.clock import HostClock
from chaos.sim.disk import DiskError, SimulatedDisk
from chaos.sim.heap import Timer
from chaos.sim.peers import MemorySnapshots, PeerPort
from chaos.sim.watched import WatchedState, watch_core
from kvstore.api import ApiLimits, Services
from kvstore.member.config import MemberConfig
from kvstore.member.member import Member
from kvstore.mvcc import layout
from kvstore.mvcc.state import StateMachine
from kvstore.storage.memory import MemoryStore
from kvstore.storage.port import StoreFull
from kvstore.storage.raft_log import TABLES, RaftLog

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["Host", "Process"]

SOON_SECONDS = 0.00002
LEASE_CHECKPOINT_SECONDS = 1.0  # so that short leases have some
CATCH_UP_SECONDS = 0.001  # as kvstore.member.driver: a process that was held up reads its sockets before it ticks


class Process:
    """One life. Also the event loop that Services sees: `time`, `call_soon`, `call_later` on the host's own clock."""

    def __init__(self, host: Host) -> None:
        world = host.world
        self.host = host
        self.heap = world.heap
        self.is_alive = True
        self._held: list[Callable[[], None]] = []
        self._is_woken = False
        self._is_catching_up = False
        seed = host.random.random()
        self.boundaries = Boundaries(world.boundaries_seen, world.boundaries_died)
        self.disk = SimulatedDisk(self.heap, Random(seed), self.run, self.boundaries)
        self.snapshots = MemorySnapshots()
        self.peers = PeerPort(world, self)
        self.state = WatchedState(StateMachine(host.state_store), self.boundaries)
        config = host.config()
        self.member = Member(config, RaftLog(host.log_store), self.state, self.peers, self.disk, self.snapshots,
                             Random(seed + 1), self.wake)
        watch_core(self.member, world.invariants)
        self.member.changes.on_removed = host.on_removed
        limits = ApiLimits(max_learners=config.max_learners, lease_checkpoint_interval_seconds=LEASE_CHECKPOINT_SECONDS)
        self.services = Services(
            self.member, self.state.machine, limits, Random(seed + 2), self,
            secrets=Random(seed + 3), wall_clock=host.clock.wall,
        )
        self.routes = self.services.routes()
        self.state.machine.on_turn(lambda turn: world.on_turn(host, turn))
        self._next_tick = self.time() + config.tick_seconds
        self._tick_seconds = config.tick_seconds
        self.call_later(self._tick_seconds, self._tick)

    # The event loop --------------------------------------------------------------------------------------------------

    def time(self) -> float:
        """Return the host's monotonic clock, in seconds."""
        return self.host.clock.monotonic()

    def call_soon(self, callback: Callable[[], object], /) -> Timer:
        """Call back in the next round."""
        return self.heap.after(SOON_SECONDS, lambda: self.run(callback))

    def call_later(self, delay: float, callback: Callable[[], object], /) -> Timer:
        """Call back when the host's clock has moved on by `delay`."""
        return self.heap.after(max(SOON_SECONDS, self.host.clock.delay(delay)), lambda: self.run(callback))

    def run(self, callback: Callable[[], object]) -> None:
        """Let the process do something, if it lives and is not paused; its death is the host's business."""
        if not self.is_alive:
            return
        if self.host.is_paused:
            self._held.append(lambda: self.run(callback))
            return
        try:
            callback()
        except SimulatedCrash as death:
            self.host.crash(f"at a boundary: {death}")
        except (DiskError, StoreFull) as error:
            self.host.crash(f"stopped by its disk: {error}")

    def release(self) -> None:
        """What came while the process was paused, in order."""
        held, self._held = self._held, []
        for callback in held:
            self.heap.after(0.0, callback)

    # What kvstore.member.driver does on asyncio ------------------------------------------------------------------------

    def wake(self) -> None:
        """A turn soon."""
        if not self._is_woken:
            self._is_woken = True
            self.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_woken = False
        self.member.turn()
        self.boundaries.passed("turn over")

    def _tick(self) -> None:
        now = self.time()
        if now - self._next_tick > self._tick_seconds and not self._is_catching_up:
            self._is_catching_up = True
            self.call_later(CATCH_UP_SECONDS, self._tick)
            return
        self._is_catching_up = False
        self._next_tick = max(self._next_tick + self._tick_seconds, now + self._tick_seconds / 2)
        self.call_later(self._next_tick - now, self._tick)
        self.member.tick()


class Host:
    """What outlives a process: the disks, the clock, the name. `process` is None while nothing runs."""

    def __init__(self, world: StoreWorld, name: str, initial_cluster: tuple[tuple[str, str], ...]) -> None:
        self.world, self.name = world, name
        self.random = world.random_for(name)
        self.clock = HostClock(lambda: world.heap.now)
        self.log_store = MemoryStore(TABLES)
        self.state_store = MemoryStore(layout.TABLES)
        self.process: Process | None = None
        self.is_paused = self.is_removed = False
        self.lives = 0
        self._initial_cluster = initial_cluster

    def config(self) -> MemberConfig:
        """What the process is told at its start."""
        url = dict(self._initial_cluster)[self.name]
        return MemberConfig(
            name=self.name,
            initial_cluster=self._initial_cluster,
            initial_advertise_peer_urls=(url,),
            **self.world.swarm.member_options,  # type: ignore[arg-type]
        )

    @property
    def is_up(self) -> bool:
        """Whether a process runs and is not paused."""
        return self.process is not None and not self.is_paused

    def start(self) -> None:
        """Begin a life with what the disks hold."""
        assert self.process is None
        self.lives += 1
        self.world.note(self.name, "started", self.lives)
        self.process = Process(self)
        self.world.by_id[self.process.member.member_id] = self

    def crash(self, why: str) -> None:
        """The process ends here; what it had not made durable is lost, and nobody is told."""
        process, self.process = self.process, None
        if process is None:
            return
        process.is_alive = False
        self.is_paused = False
        self.world.note(self.name, "crashed", why)
        self.log_store.crash()
        self.state_store.crash()

    def stop(self) -> None:
        """End as SIGTERM does."""
        process = self.process
        if process is None or self.is_paused:
            return
        process.boundaries.arm(0)  # this end is the orderly one
        process.services.stop()
        process.member.stop()
        process.is_alive, self.process = False, None
        self.world.note(self.name, "stopped")
        self.log_store.crash()
        self.state_store.crash()

    def pause(self) -> None:
        """SIGSTOP: packets and time wait."""
        if self.process is not None and not self.is_paused:
            self.is_paused = True
            self.world.note(self.name, "paused")

    def resume(self) -> None:
        """SIGCONT."""
        if self.is_paused and self.process is not None:
            self.is_paused = False
            self.world.note(self.name, "resumed")
            self.process.release()

    def wipe(self) -> None:
        """The disks are lost, and new ones are empty."""
        assert self.process is None
        self.log_store, self.state_store = MemoryStore(TABLES), MemoryStore(layout.TABLES)
        self.world.note(self.name, "wiped")

    def on_removed(self) -> None:
        """The cluster does without this member: its process ends and stays away."""
        self.is_removed = True
        self.crash("removed from the cluster")
