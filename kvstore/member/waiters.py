"""Proposals and reads that wait for their end. Time is counted in ticks.

A proposal is sent in a batch that belongs to one term: a follower forwards it only to the leader of that term, and a
leader takes it only in that term. Terms never fall along the log, so once an entry of a newer term has been applied, a
batch of an older term is either applied or lost for good; what is lost is sent again, and is still applied once.
"""

from collections import deque
from dataclasses import dataclass

from kvstore.member.ports import (
    CONNECTION_LOST,
    LEADER_FAILED,
    NO_LEADER,
    STOPPED,
    TIMED_OUT,
    TRANSFER_TIMED_OUT,
    UNAVAILABLE,
    UNKNOWN,
    Done,
    Failed,
    Ok,
)

LIFE_SHIFT = 32


class Numbers:
    """Numbers that no other life of any member has used: the life in the upper half, a counter in the lower."""

    def __init__(self, life: int) -> None:
        self._next = life << LIFE_SHIFT

    def take(self) -> int:
        self._next += 1
        return self._next


@dataclass(slots=True)
class _Batch:
    term: int
    numbers: list[int]


class Proposals:
    """Proposals by number; the oldest first. Each waits `timeout_ticks`."""

    def __init__(self, timeout_ticks: int, election_ticks: int) -> None:
        self._timeout_ticks, self._election_ticks = timeout_ticks, election_ticks
        self._leader, self._elected_at = 0, 0
        self._lost_at: dict[int, int] = {}  # member -> the tick of the last message that did not reach it
        self._waiting: dict[int, tuple[Done, bytes, int]] = {}  # number -> (done, data, deadline in ticks)
        self._unsent: deque[int] = deque()
        self._batches: dict[int, _Batch] = {}  # by batch number, in the order in which they were sent
        self.take = self._waiting.pop  # take(number, None) -> what add() was given

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def has_unsent(self) -> bool:
        return bool(self._unsent)

    def add(self, number: int, data: bytes, done: Done, tick: int) -> None:
        """Wait to be sent, from `tick` on."""
        self._waiting[number] = (done, data, tick + self._timeout_ticks)
        self._unsent.append(number)

    def next_batch(self, batch_number: int, term: int, entries: int, limit_bytes: int) -> tuple[bytes, ...]:
        """The data of the next proposals to send, in order; empty when none is left."""
        unsent, waiting = self._unsent, self._waiting
        numbers: list[int] = []
        batch: list[bytes] = []
        size = 0
        while unsent and len(batch) < entries and size < limit_bytes:
            number = unsent.popleft()
            waiter = waiting.get(number)
            if waiter is not None:
                numbers.append(number)
                batch.append(waiter[1])
                size += len(waiter[1])
        if numbers:
            self._batches[batch_number] = _Batch(term, numbers)
        return tuple(batch)

    def on_dropped(self, batch_number: int) -> None:
        """The batch went nowhere: its proposals are the first to be sent again. Other numbers are not ours."""
        batch = self._batches.pop(batch_number, None)
        if batch is not None:
            self._unsent.extendleft(reversed(batch.numbers))

    def on_applied(self, term: int) -> None:
        """Entries of `term` have been applied: forget what is done, send again what is lost."""
        batches, waiting = self._batches, self._waiting
        lost: list[int] = []
        while batches:
            batch_number = next(iter(batches))
            batch = batches[batch_number]
            if batch.term >= term and batch.numbers[-1] in waiting:
                break
            if batch.term < term:
                lost += [number for number in batch.numbers if number in waiting]
            elif any(number in waiting for number in batch.numbers):
                break
            del batches[batch_number]
        self._unsent.extendleft(reversed(lost))

    def on_snapshot(self, term: int) -> None:
        """A snapshot replaced entries through `term`: nobody knows what became of the proposals sent until then."""
        for batch_number, batch in list(self._batches.items()):
            if batch.term <= term:
                del self._batches[batch_number]
                for number in batch.numbers:
                    if (waiter := self._waiting.pop(number, None)) is not None:
                        waiter[0](Failed(UNAVAILABLE, TIMED_OUT))

    def expire(self, tick: int) -> None:
        """Fail what has waited long enough."""
        waiting = self._waiting
        if not waiting or next(iter(waiting.values()))[2] > tick:
            return
        unsent = set(self._unsent)
        for number in [number for number, waiter in waiting.items() if waiter[2] <= tick]:
            is_unsent = number in unsent
            done, _, deadline = waiting.pop(number)
            text = NO_LEADER if is_unsent else self._suspicion(deadline - self._timeout_ticks)
            done(Failed(UNAVAILABLE, text, certain=is_unsent))

    def on_leader(self, leader: int, tick: int) -> None:
        """`leader` leads now (0: nobody)."""
        if leader and leader != self._leader:
            self._elected_at = tick
        self._leader = leader

    def on_lost(self, member: int, tick: int) -> None:
        """A message did not reach `member`."""
        self._lost_at[member] = tick

    def _suspicion(self, began_at: int) -> str:
        """Why a proposal may have timed out, in etcd's words and by its rules (server.go, parseProposeCtxErr)."""
        if self._elected_at - 2 * self._election_ticks < began_at < self._elected_at:
            return LEADER_FAILED
        return CONNECTION_LOST if self._lost_at.get(self._leader, -1) >= began_at else TIMED_OUT

    def stop(self) -> None:
        unsent = set(self._unsent)
        for number, waiter in list(self._waiting.items()):
            waiter[0](Failed(UNAVAILABLE, STOPPED, certain=number in unsent))
        self._waiting.clear()


@dataclass(frozen=True, slots=True)
class _Asked:
    at_tick: int
    readers: list[tuple[Done, int]]


class Reads:
    """Read barriers: new, asked for under a context, confirmed at an index."""

    def __init__(self) -> None:
        self._new: list[tuple[Done, int]] = []  # (done, deadline in ticks)
        self._asked: dict[int, _Asked] = {}
        self._confirmed: list[tuple[int, list[tuple[Done, int]]]] = []

    @property
    def has_new(self) -> bool:
        return bool(self._new)

    def add(self, done: Done, deadline: int) -> None:
        self._new.append((done, deadline))

    def ask(self, context: int, tick: int) -> None:
        """All new ones are asked for under this context."""
        self._asked[context] = _Asked(tick, self._new)
        self._new = []

    def on_ready(self, context: int, index: int) -> None:
        """Confirmed at `index`; an answer to a context that was given up is ignored."""
        asked = self._asked.pop(context, None)
        if asked is not None:
            self._confirmed.append((index, asked.readers))

    def on_dropped(self, context: int) -> None:
        """No leader took it: ask again."""
        asked = self._asked.pop(context, None)
        if asked is not None:
            self._new += asked.readers

    def ask_again(self, before_tick: int) -> None:
        """What was asked for before that tick is to be asked again, under a new context."""
        for context in [context for context, asked in self._asked.items() if asked.at_tick < before_tick]:
            self._new += self._asked.pop(context).readers

    def answer(self, applied: int) -> None:
        """Let those go on whose index is applied."""
        if not self._confirmed:
            return
        confirmed, self._confirmed = self._confirmed, []
        go = Ok(None)
        for index, readers in confirmed:
            if index <= applied:
                for done, _ in readers:
                    done(go)
            else:
                self._confirmed.append((index, readers))

    def expire(self, tick: int, text: str) -> None:
        """Fail what has waited long enough."""
        groups = [self._new, *(a.readers for a in self._asked.values()), *(readers for _, readers in self._confirmed)]
        for readers in groups:
            if readers and min(deadline for _, deadline in readers) <= tick:
                late = [done for done, deadline in readers if deadline <= tick]
                readers[:] = [reader for reader in readers if reader[1] > tick]
                for done in late:
                    done(Failed(UNAVAILABLE, text, certain=True))

    def stop(self) -> None:
        self.expire(1 << 62, STOPPED)


class Transfers:
    """Who waits for a member to become the leader."""

    def __init__(self) -> None:
        self._waiting: list[tuple[int, Done, int]] = []  # (member, done, deadline in ticks)

    def add(self, to: int, done: Done, deadline: int) -> None:
        self._waiting.append((to, done, deadline))

    def on_leader(self, leader: int) -> None:
        """`leader` leads now (0: nobody)."""
        arrived = [done for to, done, _ in self._waiting if to == leader]
        self._waiting = [waiter for waiter in self._waiting if waiter[0] != leader]
        for done in arrived:
            done(Ok(None))

    def expire(self, tick: int) -> None:
        """Fail what has waited long enough."""
        late = [done for _, done, deadline in self._waiting if deadline <= tick]
        self._waiting = [waiter for waiter in self._waiting if waiter[2] > tick]
        for done in late:
            done(Failed(UNKNOWN, TRANSFER_TIMED_OUT))
