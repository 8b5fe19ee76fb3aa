"""One priority level: seats that requests take while they run, and queues in which they wait for them."""

from __future__ import annotations

import asyncio
import hashlib
from collections import deque
from dataclasses import dataclass
from typing import Any, Final

Object = dict[str, Any]

QUEUE_FULL: Final = "queue-full"
TIME_OUT: Final = "time-out"
CONCURRENCY_LIMIT: Final = "concurrency-limit"


class Rejected(Exception):
    """The request is to come again; `reason` is what the metrics call it."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Settings:
    """A PriorityLevelConfiguration.  `queues` 0: what finds no seat is refused at once."""

    name: str
    uid: str = ""
    is_exempt: bool = False
    shares: int = 30
    lendable_percent: int = 0
    borrowing_percent: int | None = None  # of the nominal seats; None: no bound
    queues: int = 0
    hand_size: int = 0
    queue_length: int = 0

    @classmethod
    def of(cls, obj: Object) -> Settings:
        """A PriorityLevelConfiguration as it stands in the store."""
        spec: Object = obj.get("spec") or {}
        name, uid = obj["metadata"]["name"], obj["metadata"].get("uid", "")
        if spec.get("type") == "Exempt":
            exempt: Object = spec.get("exempt") or {}
            return cls(name, uid, True, int(exempt.get("nominalConcurrencyShares") or 0))
        limited: Object = spec.get("limited") or {}
        response: Object = limited.get("limitResponse") or {}
        queuing: Object = (response.get("queuing") or {}) if response.get("type") == "Queue" else {}
        shares = limited.get("nominalConcurrencyShares")
        return cls(
            name,
            uid,
            False,
            30 if shares is None else int(shares),
            int(limited.get("lendablePercent") or 0),
            limited.get("borrowingLimitPercent"),
            int(queuing.get("queues") or 0),
            int(queuing.get("handSize") or 0),
            int(queuing.get("queueLengthLimit") or 0),
        )


class Queue:
    """Requests that wait, in order.  `served` is the virtual time of the queue: the seats that were given out of it, since
    it last fell behind."""

    __slots__ = ("index", "served", "waiting")

    def __init__(self, index: int) -> None:
        self.index = index
        self.waiting: deque[Waiting] = deque()
        self.served = 0.0


class Waiting:
    """One request in a queue."""

    __slots__ = ("future", "queue", "seats")

    def __init__(self, queue: Queue, seats: int, future: asyncio.Future[None]) -> None:
        self.queue = queue
        self.seats = seats
        self.future = future


def hand_of(flow: str, queues: int, size: int) -> tuple[int, ...]:
    """The queues of a flow: as many different ones as the hand has, dealt by the digest of its name."""
    entropy = int.from_bytes(hashlib.blake2b(flow.encode(), digest_size=16).digest(), "big")
    dealt: list[int] = []
    for taken in range(min(size, queues)):
        entropy, card = divmod(entropy, queues - taken)
        for other in sorted(dealt):
            card += other <= card
        dealt.append(card)
    return tuple(dealt)


class Seats:
    """The seats of all levels, some of which may be lent."""

    def __init__(self) -> None:
        self.levels: list[Level] = []
        self.starved: dict[Level, None] = {}  # levels in which requests wait, in the order in which they began to

    def may_lend(self) -> int:
        """How many seats are idle and lendable, less those that are lent already."""
        idle = sum(max(0, min(each.lendable, each.nominal - each.executing)) for each in self.levels)
        return idle - sum(max(0, each.executing - each.nominal) for each in self.levels)


class Level:
    """Seats and queues of one level.  All of it is called in the server's loop; nothing here awaits but `wait`."""

    def __init__(self, settings: Settings, seats: Seats) -> None:
        self.settings = settings
        self.nominal = 0
        self.lendable = 0
        self.executing = 0  # seats that are taken
        self.requests = 0  # that are being served
        self.waiting = 0  # requests in queues
        self.queues: list[Queue] = []
        self._seats = seats
        self._virtual = 0.0

    def configure(self, settings: Settings, nominal: int) -> None:
        """Take other settings; what waits goes on waiting."""
        self.settings = settings
        self.nominal = nominal
        self.lendable = nominal * settings.lendable_percent // 100
        count = max(settings.queues, 1) if settings.queues or self.waiting else 0
        if count != len(self.queues):
            waiting = [each for queue in self.queues for each in queue.waiting]
            self.queues = [Queue(index) for index in range(count)]
            for at, each in enumerate(waiting):
                each.queue = self.queues[at % count]
                each.queue.waiting.append(each)
        self.dispatch()

    def _fits(self, seats: int) -> bool:
        after = self.executing + seats
        if after <= self.nominal or not self.executing:
            return True
        percent = self.settings.borrowing_percent
        if percent is not None and after > self.nominal * (100 + percent) // 100:
            return False
        return seats <= self._seats.may_lend()

    def try_enter(self, seats: int) -> bool:
        """Take seats if nobody waits for them."""
        if self.settings.is_exempt or (not self.waiting and self._fits(seats)):
            self.executing += seats
            self.requests += 1
            return True
        return False

    async def wait(self, hand: tuple[int, ...], seats: int, limit_seconds: float) -> None:
        """Take seats when it is this request's turn; raises Rejected."""
        if not self.settings.queues:
            raise Rejected(CONCURRENCY_LIMIT)
        candidates = [self.queues[index] for index in hand if index < len(self.queues)] or self.queues
        queue = min(candidates, key=lambda each: len(each.waiting))
        if len(queue.waiting) >= self.settings.queue_length:
            raise Rejected(QUEUE_FULL)
        waiting = Waiting(queue, seats, asyncio.get_running_loop().create_future())
        if not queue.waiting:
            queue.served = max(queue.served, self._virtual)
        queue.waiting.append(waiting)
        self.waiting += 1
        self._seats.starved[self] = None
        try:
            async with asyncio.timeout(limit_seconds):
                await waiting.future
        except TimeoutError:
            self._give_up(waiting)
            raise Rejected(TIME_OUT) from None
        except asyncio.CancelledError:
            self._give_up(waiting)
            raise

    def _give_up(self, waiting: Waiting) -> None:
        if waiting.future.done() and not waiting.future.cancelled():  # its turn came at the same moment
            self.leave(waiting.seats)
            return
        waiting.queue.waiting.remove(waiting)
        self.waiting -= 1
        if not self.waiting:
            self._seats.starved.pop(self, None)

    def leave(self, seats: int) -> None:
        """Give seats back; who waits for them goes on."""
        self.executing -= seats
        self.requests -= 1
        if self._seats.starved:
            self.dispatch()
            for other in list(self._seats.starved):  # that may borrow what is idle now
                other.dispatch()

    def dispatch(self) -> None:
        """Let requests go on while there are seats: the queue that got least comes first."""
        while self.waiting:
            queue = min((each for each in self.queues if each.waiting), key=lambda each: (each.served, each.index))
            waiting = queue.waiting[0]
            if not self._fits(waiting.seats):
                return
            queue.waiting.popleft()
            self.waiting -= 1
            self._virtual = queue.served
            queue.served += waiting.seats
            self.executing += waiting.seats
            self.requests += 1
            waiting.future.set_result(None)
        self._seats.starved.pop(self, None)
