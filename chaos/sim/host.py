"""One simulated host and the process that lives on it: the shipped Member and Services over simulated ports.

    host = Host(world, "m1", number); host.start(); host.crash(); host.pause(); host.resume(); host.stop()

A host that comes back without its log, or without its state, does not serve until the others have helped (hands.py).

Everything that the process does runs through `Process.run`: nothing when it is dead, later when it is paused. What it
wakes for itself (`call_soon`) happens `SOON_SECONDS` later, so that what arrives together shares a turn, as in a loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from chaos.sim.boundary import Boundaries, SimulatedCrash
from chaos.sim.clock import HostClock
from chaos.sim.disk import SimulatedDisk, Speed
from chaos.sim.files import SimulatedFiles
from chaos.sim.heap import Timer
from chaos.sim.peers import MemorySnapshots, PeerPort
from chaos.sim.watched import Kept, LogForgot, WatchedLog, WatchedState, watch_core
from kvstore.api import ApiLimits, Services
from kvstore.member import rescue
from kvstore.member.config import MemberConfig
from kvstore.member.member import Member
from kvstore.member.rejoin import term_at
from kvstore.mvcc import layout
from kvstore.mvcc.state import StateMachine
from kvstore.raft.types import Persist, Restored, SnapshotMark
from kvstore.storage.data_dir import Identity
from kvstore.storage.file_log import FileLog
from kvstore.storage.memory import MemoryStore
from kvstore.storage.port import StoreFull
from kvstore.storage.raft_log import CorruptLog, StateTooOld

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["Host", "Process"]

SOON_SECONDS = 0.00002
LEASE_CHECKPOINT_SECONDS = 1.0  # so that short leases have some
SEGMENT_BYTES = 4 << 10  # small, so that many begin and end
RESTART_SECONDS = 1.0  # until whoever runs it starts it again
FOLDER = Path("/log")
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
        self.boundaries = host.boundaries
        self.disk = SimulatedDisk(self.heap, Random(seed), self.run, self.boundaries, host.speed)
        self.snapshots = MemorySnapshots()
        self.peers = PeerPort(world, self)
        self.state = WatchedState(StateMachine(host.state_store), self.boundaries, lambda: host.files.has_room)
        config = host.config()
        self.log = FileLog(FOLDER, segment_bytes=SEGMENT_BYTES, files=host.files)
        log = WatchedLog(self.log, host.kept, host.name, partial(world.invariants.persisted, config.member_id))
        self.member = Member(config, log, self.state, self.peers, self.disk, self.snapshots, Random(seed + 1), self.wake)
        watch_core(self.member, world.invariants)
        self.member.changes.on_removed = host.on_removed
        limits = ApiLimits(max_learners=config.max_learners, lease_checkpoint_interval_seconds=LEASE_CHECKPOINT_SECONDS)
        self.services = Services(
            self.member, self.state.machine, limits, Random(seed + 2), self,
            secrets=Random(seed + 3), wall_clock=host.clock.wall,
        )
        self.routes = {**self.services.routes(), **rescue.routes(lambda: self.member)}
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
            self.host.start_later()
        except (OSError, StoreFull) as error:
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
    """What outlives a process: the disks, the clock, the name. `process` is None while nothing runs.

    `is_away`: whoever mends it starts it. `is_doubtful`: its disk has lost something, and it is not known to be whole again.
    """

    def __init__(self, world: StoreWorld, name: str, initial_cluster: tuple[tuple[str, str], ...]) -> None:
        self.world, self.name = world, name
        self.random = world.random_for(name)
        self.clock = HostClock(lambda: world.heap.now)
        self.boundaries = Boundaries(world.boundaries_seen, world.boundaries_died)
        self.speed, self.kept = Speed(), Kept()
        self.files = SimulatedFiles(world.random_for(f"{name}/files"), self.boundaries)
        self.state_store = MemoryStore(layout.TABLES)
        self.process: Process | None = None
        self.is_paused = self.is_removed = self.is_away = self.is_doubtful = False
        self.lives = self._doubtful_life = 0
        self.options = world.swarm.member_options
        self.identity: Identity | None = None
        self.founding_table = b""
        self._initial_cluster = initial_cluster
        self.url = dict(initial_cluster)[name]

    def config(self) -> MemberConfig:
        """What the process is told at its start."""
        return MemberConfig(
            name=self.name,
            initial_cluster=self._initial_cluster,
            initial_advertise_peer_urls=(self.url,),
            identity=self.identity,
            founding_table=self.founding_table,
            **self.options,  # type: ignore[arg-type]
        )

    @property
    def member_id(self) -> int:
        """Of the process that runs or would."""
        return self.config().member_id

    @property
    def is_up(self) -> bool:
        """Whether a process runs and is not paused."""
        return self.process is not None and not self.is_paused

    @property
    def may_start(self) -> bool:
        """Whether whoever finds it dead is to start it."""
        return self.process is None and not self.is_removed and not self.is_away

    def start(self) -> None:
        """Begin a life with what the disks hold. Raises LogForgot where nothing explains what they lack."""
        assert self.process is None
        self.lives += 1
        self.world.note(self.name, "started", self.lives)
        try:
            self.process = Process(self)
        except SimulatedCrash as death:
            self._fail(f"at a boundary: {death}")
        except (OSError, StoreFull) as error:
            self._fail(f"stopped by its disk: {error}")
        except CorruptLog as error:
            if not self.is_doubtful:
                raise LogForgot(f"{self.name} refuses its own log: {error}") from error
            self._fail(f"does not serve: {type(error).__name__} {error}")
            self.world.hands.mend(self, error)
        else:
            self.world.by_id[self.process.member.member_id] = self

    def _fail(self, why: str) -> None:
        """The start ends before there is a process."""
        self.world.note(self.name, "failed to start", why)
        self._cut_power()
        self.start_later()

    def start_later(self) -> None:
        """As whoever looks after processes does with one that has died."""
        self.world.heap.after(RESTART_SECONDS, lambda: self.start() if self.may_start else None)

    def crash(self, why: str) -> None:
        """The process ends here; what it had not made durable may be lost, and nobody is told."""
        process, self.process = self.process, None
        if process is None:
            return
        process.is_alive = False
        self.is_paused = False
        self.world.note(self.name, "crashed", why)
        self._cut_power()

    def _cut_power(self) -> None:
        self.files.crash()
        self.state_store.crash()

    def stop(self) -> None:
        """End as SIGTERM does."""
        process = self.process
        if process is not None and not self.is_paused:
            process.run(lambda: self._stop(process))

    def _stop(self, process: Process) -> None:
        process.services.stop()
        process.member.stop()
        process.log.close()
        process.is_alive, self.process = False, None
        self.world.note(self.name, "stopped")
        self._cut_power()

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

    # What a disk loses -----------------------------------------------------------------------------------------------

    def rot(self) -> str | None:
        """Flip a bit of the log on the disk; tell where."""
        where = self.files.rot(FOLDER)
        if where is not None:
            self.doubt()
        return where

    def doubt(self) -> None:
        """Its disk is not to be relied on from now on."""
        self.is_doubtful, self._doubtful_life = True, self.lives

    def look(self) -> None:
        """A later life that votes has a whole log and a whole state: believe in it again."""
        leader = self.world.leader()
        if self.process is None or self.lives == self._doubtful_life or leader is None or leader.process is None:
            return
        raft = leader.process.member.raft
        if raft.log.configuration_at(raft.log.committed).is_voter(self.process.member.member_id):
            self.is_doubtful = False

    def lose_state(self) -> None:
        """The state's disk is replaced by an empty one."""
        assert self.process is None
        self.doubt()
        self.state_store = MemoryStore(layout.TABLES)

    def put_state(self, chunks: list[bytes], mark: SnapshotMark, membership: bytes, restored: Restored) -> None:
        """As kvstore.member.rejoin does: another's state under our log, or in the place of both."""
        if term_at(restored, mark.index) != mark.term:
            log = FileLog(FOLDER, segment_bytes=SEGMENT_BYTES, files=self.files)
            with contextlib.suppress(StateTooOld):
                log.load(0)
            log.begin_install(mark, membership)
            log.close()
            self.kept.saved(Persist(0, None, (), mark))
        StateMachine(self.state_store).restore(chunks)
        self.state_store.close()

    def begin_anew(self, identity: Identity, founding_table: bytes) -> None:
        """Empty disks, another id."""
        assert self.process is None
        self.files.wipe()
        self.kept = Kept()
        self.state_store = MemoryStore(layout.TABLES)
        self.identity, self.founding_table = identity, founding_table
        self.is_removed = False
        self.world.note(self.name, "begins anew", f"{identity.member_id:x}")

    def on_removed(self) -> None:
        """The cluster does without this member: its process ends and stays away."""
        self.is_removed = True
        self.crash("removed from the cluster")
