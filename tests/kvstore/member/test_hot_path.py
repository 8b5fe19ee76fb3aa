"""What makes one write quick: who does the fsync, which messages wait for company, and what a late tick must not do."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from random import Random
from socket import socketpair

import pytest

from kvstore.member import driver as driver_module
from kvstore.member.config import MemberConfig
from kvstore.member.driver import STALL_SECONDS, Driver, ThreadDisk
from kvstore.member.envelope import seal_command
from kvstore.member.links import Link
from kvstore.member.transport import PeerTransport
from kvstore.pb import raft_pb2 as pb
from kvstore.raft.types import Append, AppendReply, CommitNotice, Entry, EntryKind, Message
from tests.kvstore.member.world import MemorySnapshots


class Clock:
    """perf_counter, where each job takes `job_seconds`."""

    def __init__(self) -> None:
        self.now, self.job_seconds = 0.0, 0.0001

    def __call__(self) -> float:
        self.now += self.job_seconds / 2
        return self.now


class Jobs:
    """What a disk was given and what came back, in order."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.errors: list[BaseException] = []
        self.changed = asyncio.Event()

    def job(self, name: str) -> tuple[Callable[[], None], Callable[[], None]]:
        return lambda: self.seen.append(f"work {name}"), lambda: self.done(name)

    def done(self, name: str) -> None:
        self.seen.append(f"done {name}")
        self.changed.set()

    def fail(self, error: BaseException) -> None:
        self.errors.append(error)
        self.changed.set()

    async def until(self, event: str) -> None:
        while event not in self.seen:
            self.changed.clear()
            await self.changed.wait()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(driver_module, "perf_counter", clock)
    return clock


async def quick_disk(jobs: Jobs) -> ThreadDisk:
    disk = ThreadDisk(jobs.fail)
    disk.submit(*jobs.job("first"))
    await jobs.until("done first")
    jobs.seen.clear()
    return disk


async def test_a_quick_disk_works_in_the_loop_at_once_where_it_is_awaited_and_else_in_the_next_round(clock: Clock) -> None:
    jobs = Jobs()
    disk = await quick_disk(jobs)
    disk.submit(*jobs.job("awaited"), is_awaited=True)
    assert jobs.seen == ["work awaited", "done awaited"]
    disk.submit(*jobs.job("later"))
    disk.submit(*jobs.job("behind it"), is_awaited=True)
    assert len(jobs.seen) == 2
    await jobs.until("done behind it")
    assert jobs.seen[2:] == ["work later", "done later", "work behind it", "done behind it"]
    disk.close()


async def test_drain_does_what_was_put_off(clock: Clock) -> None:
    jobs = Jobs()
    disk = await quick_disk(jobs)
    disk.submit(*jobs.job("later"))
    disk.drain()
    assert jobs.seen == ["work later"]
    await jobs.until("done later")
    assert jobs.seen == ["work later", "done later"]
    disk.close()


async def test_after_a_stall_the_thread_does_the_work_until_the_disk_is_quick_again(clock: Clock) -> None:
    jobs = Jobs()
    disk = await quick_disk(jobs)
    clock.job_seconds = 4 * STALL_SECONDS
    disk.submit(*jobs.job("stalled"), is_awaited=True)
    clock.job_seconds = 0.0001
    for number in range(20):
        disk.submit(*jobs.job(str(number)), is_awaited=True)
        if number == 0:
            assert "done 0" not in jobs.seen
        await jobs.until(f"done {number}")
    disk.submit(*jobs.job("quick"), is_awaited=True)
    assert jobs.seen[-1] == "done quick"
    disk.close()


async def test_work_that_was_put_off_and_fails_ends_the_member(clock: Clock) -> None:
    jobs = Jobs()
    disk = await quick_disk(jobs)

    def fail() -> None:
        raise OSError("the disk is gone")

    disk.submit(fail, lambda: jobs.done("never"))
    disk.submit(*jobs.job("behind it"))
    jobs.changed.clear()
    await jobs.changed.wait()
    assert [str(error) for error in jobs.errors] == ["the disk is gone"]
    assert jobs.seen == []
    disk.close()


class TickingMember:
    def __init__(self) -> None:
        self.events: list[str] = []
        self.ticked = asyncio.Event()

    def tick(self) -> None:
        self.events.append("tick")
        self.ticked.set()


async def test_a_late_tick_lets_the_sockets_speak_first_and_counts_once() -> None:
    driver = Driver(MemberConfig(name="a"))
    member = driver.member = TickingMember()  # type: ignore[assignment]
    mine, other = socketpair()
    reading, writing = await asyncio.open_connection(sock=mine)
    other.send(b"acknowledged")
    driver._next_tick = driver.loop.time() - 30 * driver._tick_seconds
    driver._tick()
    assert member.events == []
    assert await reading.read(100) == b"acknowledged"
    member.events.append("read")
    await member.ticked.wait()
    assert member.events == ["read", "tick"]
    assert driver._next_tick > driver.loop.time()
    assert driver._timer is not None
    driver._timer.cancel()
    writing.close()
    other.close()


class FakeLink(Link):
    """Records what leaves, and when."""

    def __init__(self) -> None:
        sent_bytes: dict[int, int] = defaultdict(int)
        super().__init__(1, 2, ["http://127.0.0.1:1"], "/", {}, Random(1), lambda to, gone: None, lambda: None, None, sent_bytes)
        self.sent: list[list[int]] = []

    def flush(self, *, is_urgent: bool = False) -> None:
        self.sent.append([message.kind for message in self._messages])
        self._messages.clear()


def transport_with(link: Link) -> PeerTransport:
    transport = PeerTransport(9, 1, MemorySnapshots(), Random(1), None, lambda data: data.startswith(b"P"))
    transport._links[2] = link
    return transport


def append(index: int, command: bytes) -> Append:
    entry = Entry(index, 1, EntryKind.COMMAND, seal_command(1, index, command))
    return Append(1, 2, 1, index - 1, 1, (entry,), index - 1)


async def test_a_notice_of_quick_commits_travels_with_the_next_append_or_soon() -> None:
    link = FakeLink()
    transport = transport_with(link)
    transport.send([append(1, b"P")])
    transport.send([CommitNotice(1, 2, 1, 1)])
    assert link.sent == [[pb.APPEND]]
    transport.send([append(2, b"P")])
    assert link.sent == [[pb.APPEND], [pb.APPEND]]
    transport.send([CommitNotice(1, 2, 1, 2)])
    transport.send([CommitNotice(1, 2, 1, 3)])
    assert transport._notice_timer is not None
    transport._notice_timer.cancel()
    transport._flush_notices()
    assert link.sent[2:] == [[pb.COMMIT_NOTICE]]
    await transport.close()


async def test_a_notice_of_a_command_that_may_take_long_leaves_at_once() -> None:
    link = FakeLink()
    transport = transport_with(link)
    transport.send([append(1, b"D")])
    transport.send([CommitNotice(1, 2, 1, 1)])
    assert link.sent == [[pb.APPEND], [pb.COMMIT_NOTICE]]
    transport.send([append(2, b"P")])
    transport.send([CommitNotice(1, 2, 1, 2)])
    assert len(link.sent) == 3
    await transport.close()


@pytest.mark.parametrize("reply", [AppendReply(1, 2, 1, 1), append(1, b"P")])
async def test_a_member_whose_clients_wait_hears_of_commits_at_once(reply: Message) -> None:
    link = FakeLink()
    transport = transport_with(link)
    link.hurry_until = asyncio.get_running_loop().time() + 5
    transport.send([reply])
    transport.send([CommitNotice(1, 2, 1, 1)])
    assert link.sent[-1] == [pb.COMMIT_NOTICE]
    await transport.close()
