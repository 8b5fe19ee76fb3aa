"""The asyncio shell of a member: ticks, the disk, wake-ups, the peers' server.

    driver = await start_member(config, directory, state, random)    a whole member, listening to its peers
    driver.member.propose(...); await driver.failed (the error that ended it); await driver.stop()

No task is made for a request: a wake-up is one call_soon, a tick one call_at.
"""

import asyncio
import contextlib
import logging
import queue
import ssl
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from time import perf_counter
from typing import IO
from urllib.parse import urlsplit

from kvstore.member.bootstrap import identified
from kvstore.member.config import MemberConfig
from kvstore.member.figures import SLOW_TURN_SECONDS, Figures
from kvstore.member.member import Member
from kvstore.member.ports import Disk, StateMachine
from kvstore.member.transport import PeerTransport
from kvstore.rpc import Limits, Server
from kvstore.storage.data_dir import DataDirectory, MemberRemoved
from kvstore.storage.file_log import FileLog, open_log
from kvstore.storage.port import StoreFull

logger = logging.getLogger("kvstore.member")

PEER_MESSAGE_BYTES = 512 << 20
CHUNK_LENGTH_BYTES = 4
QUICK_SECONDS = 0.005  # an fsync that takes less is not worth a change of thread, dearest where all processors are busy
CATCH_UP_SECONDS = 0.001
STALL_SECONDS = 0.05  # one that takes longer is a reason to leave the loop at once
MEDIAN_STEP = 1.15
ROOM_PAUSE_SECONDS = 0.2  # between attempts to write to a full disk


_Job = tuple[Callable[[], None], Callable[[], None]]


class InlineDisk:
    """The Disk port in the turn itself: the cheapest where an fsync takes less than two changes of thread."""

    is_full = False

    def submit(self, work: Callable[[], None], done: Callable[[], None], *, is_awaited: bool = False) -> None:
        work()
        done()

    def drain(self) -> bool:
        return True

    def close(self) -> None:
        pass


class ThreadDisk:
    """The Disk port in one thread, so that the loop goes on while a slow disk works.

    Where the disk has been quick lately the loop does the work itself, because two changes of thread cost as much:
    awaited work at once, other work in the next round, when what this round sends is on its way.
    Work that finds no room on the disk waits for it in the thread, and all later work behind it.
    """

    def __init__(
        self, fail: Callable[[BaseException], None], observe: Callable[[float], None] = lambda seconds: None
    ) -> None:
        """`observe` is told how long each job took, in this or that thread."""
        self._loop = asyncio.get_running_loop()
        self._fail, self._observe = fail, observe
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._soon: deque[_Job] = deque()
        self._unfinished = 0
        self._typical_seconds = QUICK_SECONDS  # of the last jobs; the first goes to the thread
        self._is_idle = threading.Condition()
        self.is_full = False
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="raft-log", daemon=True)
        self._thread.start()

    def submit(self, work: Callable[[], None], done: Callable[[], None], *, is_awaited: bool = False) -> None:
        if self._unfinished == 0 and self._typical_seconds < QUICK_SECONDS:
            self._soon.append((work, done))
            if is_awaited and len(self._soon) == 1:
                self._run_next(lambda done: done())
            else:
                self._loop.call_soon(self._run_soon)
            return
        self._run_all_soon()
        self._hand_over((work, done))

    def _hand_over(self, *jobs: _Job) -> None:
        """Let the thread do them."""
        with self._is_idle:
            self._unfinished += len(jobs)
        for job in jobs:
            self._jobs.put(job)

    def _run_next(self, finish: Callable[[Callable[[], None]], object]) -> None:
        """Do the first job that was put off, in the loop."""
        work, done = self._soon.popleft()
        try:
            self._measure(work)
        except StoreFull:
            jobs = ((work, done), *self._soon)
            self._soon.clear()
            self._hand_over(*jobs)
        else:
            finish(done)

    def _run_soon(self) -> None:
        if self._soon:
            try:
                self._run_next(lambda done: done())
            except Exception as error:
                self._soon.clear()
                self._fail(error)

    def _run_all_soon(self) -> None:
        """What was put off; in order, before anything later."""
        while self._soon:
            self._run_next(self._loop.call_soon)

    def _measure(self, work: Callable[[], None]) -> None:
        """Do it, and follow the median: on a busy machine single jobs take long for no fault of the disk."""
        started = perf_counter()
        work()
        seconds = perf_counter() - started
        self._observe(seconds)
        if seconds > STALL_SECONDS:
            self._typical_seconds = max(self._typical_seconds, QUICK_SECONDS * MEDIAN_STEP**4)
        elif seconds > self._typical_seconds:
            self._typical_seconds *= MEDIAN_STEP
        else:
            self._typical_seconds /= MEDIAN_STEP

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                self._measure_when_there_is_room(job[0])
            except Exception as error:  # whatever it is, a log that cannot be written ends the member
                self._loop.call_soon_threadsafe(self._fail, error)
                return
            finally:
                with self._is_idle:
                    self._unfinished -= 1
                    self._is_idle.notify_all()
            with contextlib.suppress(RuntimeError):  # the loop may be closed
                self._loop.call_soon_threadsafe(job[1])

    def _measure_when_there_is_room(self, work: Callable[[], None]) -> None:
        while True:
            try:
                self._measure(work)
            except StoreFull as error:
                if not self.is_full:
                    logger.warning("the log waits for room on its disk: %s", error)
                with self._is_idle:
                    self.is_full = True
                    self._is_idle.notify_all()
                if self._is_closing.wait(ROOM_PAUSE_SECONDS):
                    raise
            else:
                if self.is_full:
                    logger.warning("the log has room again")
                    self.is_full = False
                return

    def drain(self) -> bool:
        self._run_all_soon()
        with self._is_idle:
            self._is_idle.wait_for(lambda: self._unfinished == 0 or self.is_full or not self._thread.is_alive())
        return not self.is_full

    def close(self) -> None:
        self._is_closing.set()
        self._jobs.put(None)
        self._thread.join()


class SpooledSnapshots:
    """The Snapshots port in files of one folder, one for each sender; what a former life left there is removed."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._files: dict[int, IO[bytes]] = {}
        for left in folder.iterdir():
            left.unlink()

    def begin(self, sender: int) -> None:
        self.discard(sender)
        self._files[sender] = (self._folder / f"{sender:x}").open("w+b")

    def add(self, sender: int, chunk: bytes) -> None:
        file = self._files[sender]
        file.write(len(chunk).to_bytes(CHUNK_LENGTH_BYTES, "big"))
        file.write(chunk)

    def take(self, sender: int) -> Iterable[bytes]:
        return self._read(sender)

    def _read(self, sender: int) -> Iterator[bytes]:
        file = self._files[sender]
        file.seek(0)
        while length := file.read(CHUNK_LENGTH_BYTES):
            yield file.read(int.from_bytes(length, "big"))
        self.discard(sender)

    def discard(self, sender: int) -> None:
        file = self._files.pop(sender, None)
        if file is not None:
            file.close()
            (self._folder / f"{sender:x}").unlink(missing_ok=True)

    def close(self) -> None:
        for sender in list(self._files):
            self.discard(sender)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What belongs to a running member and must be closed after it, in this order."""

    server: Server
    transport: PeerTransport
    disk: InlineDisk | ThreadDisk
    snapshots: SpooledSnapshots
    log: FileLog


class Driver:
    """Runs one member on the running loop. `failed` gets the exception that ended it, if one did."""

    def __init__(self, config: MemberConfig) -> None:
        self.loop = asyncio.get_running_loop()
        self.failed: asyncio.Future[None] = self.loop.create_future()
        self.member: Member
        self.figures = Figures()
        self.on_turn: Callable[[], None] | None = None  # called after each turn: for tests and measurements
        self._parts: _Parts
        self._tick_seconds = config.tick_seconds
        self._is_woken = True  # nothing before run()
        self._next_tick = self.loop.time() + self._tick_seconds
        self._timer: asyncio.TimerHandle | None = None
        self._is_catching_up = False

    def run(self, member: Member, parts: _Parts) -> None:
        """Start the ticks."""
        self.member, self._parts = member, parts
        self._timer = self.loop.call_at(self._next_tick, self._tick)
        self.loop.call_soon(self._turn)

    def wake(self) -> None:
        """A turn soon: whatever arrives in this round of the loop shares it."""
        if not self._is_woken:
            self._is_woken = True
            self.loop.call_soon(self._turn)

    def _turn(self) -> None:
        self._is_woken = False
        if not self.failed.done():
            started = perf_counter()
            try:
                self.member.turn()
            except Exception as error:
                self.fail(error)
            self.figures.slow_turns += perf_counter() - started > SLOW_TURN_SECONDS
            if self.on_turn is not None:
                self.on_turn()

    def _tick(self) -> None:
        """A loop that was held up ticks once for the whole delay: time nobody could use must not depose a leader.

        It reads first what has waited in the sockets meanwhile, or it would take its own silence for the others'.
        """
        now = self.loop.time()
        if now - self._next_tick > self._tick_seconds and not self._is_catching_up:
            self._is_catching_up = True
            self._timer = self.loop.call_later(CATCH_UP_SECONDS, self._tick)
            return
        self._is_catching_up = False
        self._next_tick = max(self._next_tick + self._tick_seconds, now + self._tick_seconds / 2)
        self._timer = self.loop.call_at(self._next_tick, self._tick)
        if not self.failed.done():
            try:
                self.member.tick()
            except Exception as error:
                self.fail(error)

    def fail(self, error: BaseException) -> None:
        """The member cannot go on: a damaged or full disk, or our bug."""
        if not self.failed.done():
            logger.critical("the member stops", exc_info=error)
            self.failed.set_exception(error)

    def retire(self, directory: DataDirectory) -> None:
        """The member was removed from its cluster: it ends, and is not started from this directory again."""
        if not self.failed.done():
            directory.retire()
            logger.warning("the member has been permanently removed from the cluster; it stops")
            self.failed.set_exception(MemberRemoved("the member has been permanently removed from the cluster"))

    async def stop(self) -> None:
        """Stop listening, fail who waits, make the state durable, close the log."""
        if self._timer is not None:
            self._timer.cancel()
        parts = self._parts
        await parts.server.stop()
        await parts.transport.close()
        if self.failed.done():
            if isinstance(self.failed.exception(), MemberRemoved):  # other errors have been logged
                self.member.stop()
        else:
            self.member.stop()
            self.failed.cancel()
        parts.disk.close()
        parts.snapshots.close()
        parts.log.close()


async def start_member(
    config: MemberConfig,
    directory: DataDirectory,
    state: StateMachine,
    random: Random,
    *,
    server_context: ssl.SSLContext | None = None,
    client_context: ssl.SSLContext | None = None,
) -> Driver:
    """A member that listens to its peers. The caller closes `state` and `directory` after `stop()`.

    Raises WrongDataDirectory, MemberRemoved, CannotJoin, CorruptLog, OSError (an address is in use).
    """
    config = await identified(config, directory, client_context)
    driver = Driver(config)
    log = open_log(directory.log_path, state.applied_index)
    snapshots = SpooledSnapshots(directory.incoming_path)
    transport = PeerTransport(config.cluster_id, config.member_id, snapshots, random, client_context,
                              state.is_quick, directory.note_peers, driver.figures)
    server = Server(transport.routes(), limits=Limits(message_bytes=PEER_MESSAGE_BYTES))
    disk: InlineDisk | ThreadDisk = ThreadDisk(driver.fail, driver.figures.fsync.observe) if config.disk_thread else InlineDisk()
    try:
        port: Disk = disk
        member = Member(config, log, state, transport, port, snapshots, random, driver.wake)
        member.upkeep.measure(perf_counter, driver.figures.commit.observe)
        transport.attach(member)
        member.changes.on_removed = partial(driver.retire, directory)
        for url in config.listen_peer_urls:
            parts = urlsplit(url)
            await server.start(parts.hostname or "127.0.0.1", parts.port or 2380,
                               server_context if parts.scheme == "https" else None)
    except BaseException:
        await server.stop()
        await transport.close()
        disk.close()
        log.close()
        raise
    driver.run(member, _Parts(server, transport, disk, snapshots, log))
    return driver
