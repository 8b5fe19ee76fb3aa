"""The servers of a run (real processes), and the comparison."""

import asyncio
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Awaitable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from kvstore.pb import rpc_pb2 as rpc
from tests.differential.known import known_difference
from tests.differential.session import Session
from tests.differential.steps import Ask, Json, Step, Watch
from tests.kvstore.api.processes import ROOT, free_ports

EVENTS_SECONDS = 10.0
SEQUENCE_SECONDS = 60.0
STOP_SECONDS = 20.0
TIMED_OUT = "etcdserver: request timed out"
READY = "ready to serve client requests"
PROGRAMS = {
    "etcd 3.4": [shutil.which("etcd") or "/usr/bin/etcd"],
    "etcd 3.5": [str(ROOT / ".venv" / "tools" / "etcd-3.5")],
    "ours": [sys.executable, "-m", "kvstore.command"],
}


def peers() -> list[str]:
    """Return the kinds of real etcd that are here."""
    return [name for name, command in PROGRAMS.items() if name != "ours" and Path(command[0]).exists()]


@contextmanager
def running(kind: str, directory: Path) -> Iterator[str]:
    """Run one member of a kind; yield its endpoint. Raises AssertionError with its last words when it does not come up."""
    client, peer = free_ports(2)
    client_url, peer_url = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    folder = directory / kind.replace(" ", "-")
    flags = {"name": "one", "data-dir": folder, "listen-client-urls": client_url, "advertise-client-urls": client_url,
             "listen-peer-urls": peer_url, "initial-advertise-peer-urls": peer_url,
             "initial-cluster": f"one={peer_url}", "bcrypt-cost": 4}  # fmt: skip
    command = [*PROGRAMS[kind], *(f"--{flag}={value}" for flag, value in flags.items())]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT)
    assert process.stdout is not None
    said: deque[str] = deque(maxlen=20)
    reader = threading.Thread(target=lambda output: said.extend(output), args=(process.stdout,))
    try:
        for line in process.stdout:
            said.append(line)
            if READY in line:
                break
        else:
            raise AssertionError(f"{kind} ended: {''.join(said)}")
        reader.start()  # nobody may be held up by a full pipe
        yield f"127.0.0.1:{client}"
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)
        if reader.is_alive():
            reader.join()
        process.stdout.close()


async def all_of(calls: Iterable[Awaitable[Any]]) -> list[Any]:
    """Wait for all, also when one fails: what is still under way would disturb the next sequence."""
    answers = await asyncio.gather(*calls, return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return answers


class Arena:
    """Ours and its peers, fed alike."""

    def __init__(self, endpoints: dict[str, str]) -> None:
        self._news = asyncio.Event()
        self._sessions = {kind: Session(kind, endpoint, self._news.set) for kind, endpoint in endpoints.items()}
        self.ours = self._sessions["ours"]
        self.peers = [session for kind, session in self._sessions.items() if kind != "ours"]
        self.played = self.abandoned = 0  # sequences

    async def close(self) -> None:
        for session in self._sessions.values():
            await session.close()

    async def play(self, sequence: Sequence[Step]) -> None:
        """Perform a sequence on all; raises AssertionError where ours is not like the peers, TimeoutError when one hangs.

        An etcd that loses a request lets its client wait for seven seconds, and nobody knows what came of it: such a
        sequence is abandoned.
        """
        self.played += 1
        async with asyncio.timeout(SEQUENCE_SECONDS):
            await self._play(sequence)

    async def _play(self, sequence: Sequence[Step]) -> None:
        sessions = [self.ours, *self.peers]
        await all_of(session.reset() for session in sessions)
        for step in playable(sequence):
            ours, *others = await all_of(session.perform(step) for session in sessions)
            if any(TIMED_OUT in str(theirs) for theirs in others):
                self.abandoned += 1
                return
            for peer, theirs in zip(self.peers, others):
                if ours != theirs and known_difference(peer.name, step, ours, theirs) is None:
                    raise AssertionError(f"{step}\n{peer.name} answers:\n{shown(theirs)}\nours answers:\n{shown(ours)}")
        await self._compare_events()

    async def _compare_events(self) -> None:
        sessions = [self.ours, *self.peers]
        newest = await all_of(session.fence() for session in sessions)
        try:
            async with asyncio.timeout(EVENTS_SECONDS):
                for peer in self.peers:
                    await self._same_events(peer)
        except TimeoutError:
            for peer in self.peers:
                assert self.ours.events() == peer.events(), f"other events than {peer.name}"
            raise
        ours, *others = await all_of(session.progress(last) for session, last in zip(sessions, newest))
        for peer, theirs in zip(self.peers, others):
            assert ours == theirs, f"progress: {peer.name} says {theirs}, ours {ours}"

    async def _same_events(self, peer: Session) -> None:
        """A watcher that begins in the past is behind the fence for a while: wait for what is still to come."""
        while self.ours.events() != peer.events():
            self._news.clear()
            await self._news.wait()


def playable(sequence: Sequence[Step]) -> Iterator[Step]:
    """Leave out a Compact after a watch of the past: whether that has caught up by then is nobody's promise.

    And a second kind of alarm: before 3.6, the last one that was raised was the only one that counted.
    """
    is_behind = False
    first_alarm = 0
    for step in sequence:
        request = step.request if isinstance(step, Ask | Json | Watch) else None
        if isinstance(request, rpc.WatchCreateRequest) and request.start_revision > 0:
            is_behind = True
        if isinstance(request, rpc.AlarmRequest) and request.action == rpc.AlarmRequest.ACTIVATE:
            first_alarm = first_alarm or request.alarm
            if request.alarm != first_alarm:
                continue
        if not (isinstance(request, rpc.CompactionRequest) and is_behind):
            yield step


def shown(answer: Any) -> str:
    """Return an answer as text."""
    if isinstance(answer, list):
        return "\n".join(map(shown, answer))
    return f"{answer.DESCRIPTOR.name} {answer}" if isinstance(answer, Message) else repr(answer)


@contextmanager
def open_arena(directory: Path, runner: asyncio.Runner) -> Iterator[Arena]:
    """Run all servers that are here, and connect to them."""
    with ExitStack() as stack:
        endpoints = {kind: stack.enter_context(running(kind, directory)) for kind in ("ours", *peers())}

        async def make() -> Arena:
            return Arena(endpoints)

        arena = runner.run(make())
        try:
            yield arena
        finally:
            runner.run(arena.close())
