"""When leases end.  The leader alone keeps deadlines; a lease ends by an entry of the log, never by a clock alone.

On becoming leader, every lease gets its full TTL, or what the newest checkpoint says is left of it (checkpoints.py), and
one election time-out more: the former leader may have promised a renewal as late as that. An expiry names the term of the
decision and the lease's generation, and is void when either has changed by the time it is applied (kvstore.mvcc.leases).
Renewals reach the leader as a question from member to member.

    renew(lease, done)         done(TTL in seconds), 0 when there is no such lease, None when no leader answered
    time_to_live(lease, done)  done(remaining whole seconds), -1 when there is no such lease, None as above
"""

import struct
from collections.abc import Callable
from heapq import heapify, heappop, heappush

from kvstore.api.checkpoints import Checkpoints
from kvstore.api.node import Answer, Node
from kvstore.member.ports import Ok, Result
from kvstore.mvcc import commands
from kvstore.mvcc.leases import LeaseRecord, encode_checkpoint, encode_expiry
from kvstore.mvcc.working import Turn

__all__ = ["Lessor"]

SCAN_SECONDS = 0.5
MAX_EXPIRED_IN_ENTRY = 250  # leases; with the next, the time that one entry takes: three milliseconds or so
MAX_CHECKPOINTS_IN_ENTRY = 250  # leases
MAX_KEYS_IN_ENTRY = 1000  # of the leases that it ends; a lease with more has an entry of its own
PAUSE_SECONDS = 0.001  # between two entries, for others
MAX_STALE_DEADLINES = 10_000  # renewed since; beyond it, and half the queue, they are swept out
RENEW = "lease/renew"
TIME_TO_LIVE = "lease/time-to-live"

_LEASE = struct.Struct(">q")
_SECONDS = struct.Struct(">q")

Seconds = Callable[[int | None], None]


class Lessor:
    """`clock()` is the loop's time, `later(seconds, function)` its call_later."""

    def __init__(
        self, node: Node, clock: Callable[[], float], later: Callable[[float, Callable[[], None]], object]
    ) -> None:
        self._node = node
        self._clock = clock
        self._later = later
        self._ttls: dict[int, int] = {}  # in seconds, on every member, so that who becomes leader need not read them first
        self._checkpoints = Checkpoints(node.limits.lease_checkpoint_interval_seconds)
        self._load()
        self._deadlines: dict[int, float] = {}  # of the leader; empty elsewhere
        self._queue: list[tuple[float, int]] = []  # (deadline, lease), stale entries included
        self._expiring: dict[int, list[Seconds]] = {}  # proposed, with the renewals that wait for what comes of it
        self._is_stopped = self._is_ending = self._is_noting = False  # an expiry, a checkpoint is under way: one at a time
        self.renewed = self.expired = 0  # for the metrics
        node.state.on_turn(self._on_turn)
        node.member.on_leadership(self._on_leadership)
        node.member.answer(RENEW, self._answer_renew)
        node.member.answer(TIME_TO_LIVE, self._answer_time_to_live)
        if node.member.is_leader:
            self._arm_all()
        later(SCAN_SECONDS, self._scan)

    def stop(self) -> None:
        """Expire nothing from now on."""
        self._is_stopped = True

    def _load(self) -> None:
        records = list(self._node.state.leases())
        self._ttls = {record.lease: record.ttl_seconds for record in records}
        self._checkpoints.load(records)

    def leases(self) -> list[int]:
        """Return all leases, as of the end of the last turn."""
        return list(self._ttls)

    # ---- deadlines ------------------------------------------------------------------------------------------------

    def _arm(self, lease: int, seconds: float) -> None:
        deadline = self._clock() + seconds
        self._deadlines[lease] = deadline
        heappush(self._queue, (deadline, lease))
        if len(self._queue) > 2 * len(self._deadlines) + MAX_STALE_DEADLINES:
            self._queue = [(due, lease) for lease, due in self._deadlines.items()]
            heapify(self._queue)

    def _arm_all(self) -> None:
        now = self._clock()
        begin, known = now + self._node.limits.election_timeout_seconds, self._checkpoints.known
        self._deadlines = {lease: begin + known(lease, ttl_seconds) for lease, ttl_seconds in self._ttls.items()}
        self._queue = [(due, lease) for lease, due in self._deadlines.items()]
        heapify(self._queue)
        self._checkpoints.watch_all(self._ttls, now)

    def _disarm_all(self) -> None:
        self._checkpoints.forget_all()
        self._deadlines.clear()
        self._queue.clear()
        waiting = [done for several in self._expiring.values() for done in several]
        self._expiring.clear()
        for done in waiting:
            done(None)

    def _on_leadership(self, leader: int, term: int) -> None:
        self._disarm_all()
        if self._node.member.is_leader:
            self._arm_all()

    def _on_turn(self, turn: Turn) -> None:
        if turn.restored:
            self._load()
        is_leader = self._node.member.is_leader
        for change in turn.leases:
            self._checkpoints.learn(change.lease, change.remaining_seconds or 0)
            if change.remaining_seconds is not None:
                continue
            if change.ttl_seconds:
                self._ttls[change.lease] = change.ttl_seconds
                if is_leader:
                    self._arm(change.lease, change.ttl_seconds)
                    self._checkpoints.watch(change.lease, change.ttl_seconds, self._clock())
            else:
                self._ttls.pop(change.lease, None)
                self._deadlines.pop(change.lease, None)
                for done in self._expiring.pop(change.lease, ()):
                    done(0)

    def _scan(self) -> None:
        if not self._is_stopped:
            self._later(SCAN_SECONDS, self._scan)
            self._expire_due()
            self._checkpoint_due()

    def _expire_due(self) -> None:
        """Propose the end of what is overdue, as one entry; what does not go into it waits for it to be applied."""
        if self._is_stopped or self._is_ending or not self._node.member.is_leader:
            return
        expired: list[LeaseRecord] = []
        key_count = 0
        now = self._clock()
        while (
            self._queue and self._queue[0][0] <= now
            and len(expired) < MAX_EXPIRED_IN_ENTRY and key_count < MAX_KEYS_IN_ENTRY
        ):  # fmt: skip
            deadline, lease = heappop(self._queue)
            if self._deadlines.get(lease) != deadline:
                continue  # renewed or gone since
            record = self._node.state.lease(lease)
            if record is not None:
                expired.append(record)
                key_count += len(self._node.state.lease_keys(lease))
                self._expiring.setdefault(lease, [])
        if expired:
            self._is_ending = True
            payload = encode_expiry(self._node.member.term, expired)
            self._node.member.propose(commands.LEASE_EXPIRE + payload, lambda result: self._expired(expired, result))

    def _expired(self, expired: list[LeaseRecord], result: Result) -> None:
        """The entry was applied, or not: what is still there is tried again, later; what else is due, now."""
        self._is_ending = False
        for record in expired:
            waiting = self._expiring.pop(record.lease, None)
            if waiting is None:
                continue  # leadership was lost meanwhile; if it came back, the lease has its full time anew
            is_gone = self._node.state.lease(record.lease) is None
            self.expired += is_gone
            if not is_gone and record.lease in self._deadlines:
                self._arm(record.lease, SCAN_SECONDS)
            for done in waiting:
                done(0 if is_gone else None)
        if isinstance(result, Ok):
            self._later(PAUSE_SECONDS, self._expire_due)

    # ---- checkpoints ----------------------------------------------------------------------------------------------

    def _checkpoint_due(self) -> None:
        """Propose what is left of leases, where the log knows too much of it, as one entry; then what else is due."""
        if self._is_stopped or self._is_noting or not self._node.member.is_leader:
            return
        found = self._checkpoints.take_due(self._clock(), self._deadlines, self._ttls, MAX_CHECKPOINTS_IN_ENTRY)
        left = [(record, seconds) for lease, seconds in found if (record := self._node.state.lease(lease)) is not None]

        def done(result: Result) -> None:
            self._is_noting = False
            if isinstance(result, Ok):
                for record, _ in left:
                    self._checkpoints.settle(record.lease)
                self._later(PAUSE_SECONDS, self._checkpoint_due)

        if left:
            self._is_noting = True
            payload = encode_checkpoint(self._node.member.term, left)
            self._node.member.propose(commands.LEASE_CHECKPOINT + payload, done)

    def _take_back(self, lease: int, done: Seconds) -> None:
        """Renew a lease with a checkpoint: the next leader must not begin with that."""
        record = self._node.state.lease(lease)
        if record is None:
            done(0)
            return

        def finish(result: Result) -> None:
            now = self._node.state.lease(lease)
            if isinstance(result, Ok) and (now is None or not now.remaining_seconds):
                self._checkpoints.learn(lease, 0)
                self._checkpoints.settle(lease)
                self._renew_as_leader(lease, done)
            else:
                done(None)

        payload = encode_checkpoint(self._node.member.term, [(record, 0)])
        self._node.member.propose(commands.LEASE_CHECKPOINT + payload, finish)

    # ---- questions ------------------------------------------------------------------------------------------------

    def renew(self, lease: int, done: Seconds) -> None:
        """Give `lease` its full TTL again, on the leader wherever it is."""
        if self._node.member.is_leader:
            self._renew_here(lease, done)
        else:
            self._ask(RENEW, lease, done)

    def _renew_here(self, lease: int, done: Seconds) -> None:
        """A leader that was paused or cut off may be none any more, and a new one may not have applied the grant yet.

        So a linearizable read comes first, one round for all that wait: a renewal then holds whoever leads next.
        """
        self._node.member.read(lambda result: self._renew_as_leader(lease, done) if isinstance(result, Ok) else done(None))

    def _renew_as_leader(self, lease: int, done: Seconds) -> None:
        ttl_seconds = self._ttls.get(lease)
        if ttl_seconds is None:
            done(0)
        elif not self._node.member.is_leader:
            done(None)
        elif lease in self._expiring:  # too late, most likely: wait for what the entry does
            self._expiring[lease].append(done)
        elif self._checkpoints.stands_against_renewal(lease):
            self._take_back(lease, done)
        else:
            self._arm(lease, ttl_seconds)
            self.renewed += 1
            done(ttl_seconds)

    def time_to_live(self, lease: int, done: Seconds) -> None:
        """Find the remaining time of `lease`, as the leader sees it."""
        if self._node.member.is_leader:
            self._time_to_live_here(lease, done)
        else:
            self._ask(TIME_TO_LIVE, lease, done)

    def _time_to_live_here(self, lease: int, done: Seconds) -> None:
        remaining = self._remaining(lease)
        if remaining >= 0:
            done(remaining)
        else:  # the grant may not have been applied yet
            self._node.member.read(lambda result: done(self._remaining(lease) if isinstance(result, Ok) else None))

    def _remaining(self, lease: int) -> int:
        deadline = self._deadlines.get(lease)
        return -1 if deadline is None else max(int(deadline - self._clock()), 0)

    def _ask(self, subject: str, lease: int, done: Seconds) -> None:
        leader = self._node.member.leader

        def finish(answer: bytes | None) -> None:
            done(_SECONDS.unpack(answer)[0] if answer is not None and len(answer) == _SECONDS.size else None)

        if leader:
            self._node.member.ask(leader, subject, _LEASE.pack(lease), finish)
        else:
            done(None)

    def _answer_renew(self, payload: bytes, answer: Answer) -> None:
        """Answer another member. Silence (an empty answer) when this one does not lead: the asker tries again."""
        if self._node.member.is_leader:
            self._renew_here(_LEASE.unpack(payload)[0], lambda seconds: answer(_packed(seconds)))
        else:
            answer(b"")

    def _answer_time_to_live(self, payload: bytes, answer: Answer) -> None:
        if self._node.member.is_leader:
            self._time_to_live_here(_LEASE.unpack(payload)[0], lambda seconds: answer(_packed(seconds)))
        else:
            answer(b"")


def _packed(seconds: int | None) -> bytes:
    return b"" if seconds is None else _SECONDS.pack(seconds)
