"""Do all members hold the same?  The leader compares hashes with every member from time to time, and raises CORRUPT.

A hash is taken at one revision, by each member over its own view, in slices. Members that have compacted differently
cannot be compared and are left for the next time. Whoever differs from the majority is named; where no majority agrees,
the alarm names member 0: nobody knows who is right.
"""

import struct
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from kvstore.api.node import Answer, Node
from kvstore.api.slices import Slices
from kvstore.member.ports import Failed, Result
from kvstore.mvcc import alarms, commands
from kvstore.mvcc.errors import Failure
from kvstore.pb.rpc_pb2 import CORRUPT, AlarmRequest

__all__ = ["CorruptionCheck", "CorruptionOptions"]

SUBJECT = "maintenance/hash-kv"
INITIAL_SECONDS = 1.0  # after the start
_REVISION = struct.Struct(">q")
_ANSWER = struct.Struct(">qqI")  # revision, compacted revision, hash

_Taken = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class CorruptionOptions:
    """Named as etcd's flags: how often the leader compares (0: never), and whether each member does once at its start."""

    corrupt_check_seconds: float = 0.0
    initial_corrupt_check: bool = False


class CorruptionCheck:
    """`later(seconds, function)` is the loop's call_later."""

    def __init__(
        self,
        node: Node,
        slices: Slices,
        options: CorruptionOptions,
        later: Callable[[float, Callable[[], None]], object],
    ) -> None:
        self._node = node
        self._slices = slices
        self._later = later
        self._interval_seconds = options.corrupt_check_seconds
        self._is_stopped = False
        node.member.answer(SUBJECT, self._on_ask)
        if self._interval_seconds:
            later(self._interval_seconds, self._tick)
        if options.initial_corrupt_check:
            later(INITIAL_SECONDS, self.check)

    def stop(self) -> None:
        """Compare nothing from now on."""
        self._is_stopped = True

    def _tick(self) -> None:
        if not self._is_stopped:
            self._later(self._interval_seconds, self._tick)
            if self._node.member.is_leader:
                self.check()

    def check(self) -> None:
        """Take the hash here, ask the others for theirs, compare when all have answered or could not."""

        def finish(result: Result) -> None:
            if not isinstance(result, Failed) and not self._is_stopped:
                self._take(0, self._ask_others)

        self._node.member.read(finish)

    def _take(self, revision: int, done: Callable[[_Taken | None], None]) -> None:
        state = self._node.state
        steps = state.hash_steps(revision)
        if isinstance(steps, Failure):
            done(None)
        else:
            at, compacted = revision or state.revision, state.compacted
            self._slices.run(steps, lambda found: done((at, compacted, found)))

    def _on_ask(self, payload: bytes, answer: Answer) -> None:
        (revision,) = _REVISION.unpack(payload)

        def finish(result: Result) -> None:  # all that the asker has is here now
            if isinstance(result, Failed) or self._is_stopped:
                answer(b"")
            else:
                self._take(revision, lambda taken: answer(b"" if taken is None else _ANSWER.pack(*taken)))

        self._node.member.read(finish)

    def _ask_others(self, own: _Taken | None) -> None:
        member = self._node.member
        others = [one.member_id for one in member.status().members if one.member_id != member.member_id]
        if own is None or not others:
            return
        taken: dict[int, _Taken | None] = {}

        def note(asked: int, answer: bytes | None) -> None:
            taken[asked] = _ANSWER.unpack(answer) if answer is not None and len(answer) == _ANSWER.size else None
            if len(taken) == len(others):
                self._compare({member.member_id: own, **taken}, own)

        for other in others:
            member.ask(other, SUBJECT, _REVISION.pack(own[0]), lambda answer, asked=other: note(asked, answer))  # type: ignore[misc]

    def _compare(self, taken: dict[int, _Taken | None], own: _Taken) -> None:
        hashes = {member_id: one[2] for member_id, one in taken.items() if one is not None and one[:2] == own[:2]}
        if len(set(hashes.values())) < 2:
            return
        (most, count), *_ = Counter(hashes.values()).most_common(1)
        is_majority = 2 * count > len(taken)
        wrong = [member_id for member_id, found in hashes.items() if found != most] if is_majority else [0]
        for member_id in wrong:
            request = AlarmRequest(action=AlarmRequest.ACTIVATE, memberID=member_id, alarm=CORRUPT)
            data = commands.ALARM + alarms.encode_change(request, by_server=False)
            self._node.member.propose(data, lambda result: None)
