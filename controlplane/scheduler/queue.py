"""Pods that wait for a node.  Pure: the time is an argument.

    held back       a plugin does not let them in yet (scheduling gates)
    active          ready to be tried, by priority, then arrival
    backing off     an error; tried again when the back-off ends
    unschedulable   no node fits; wait for a cluster event that could change a rejecting plugin's mind, five minutes at most

`pop` takes a pod out for one attempt; the attempt ends with `refuse` (no node fits), `retry` (something failed) or nothing
(it was bound; the API's word `remove`s it). A pod that an event could help is tried even within its back-off: at once, then
every half second at most, and not more than fifty such pods a second: a stream of events must not turn into a stream of attempts.
"""

import heapq
import itertools
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

from controlplane.scheduler.cluster_events import ClusterEvent
from controlplane.scheduler.podinfo import PodInfo

INITIAL_BACKOFF_SECONDS = 1.0
MAX_BACKOFF_SECONDS = 10.0
MAX_UNSCHEDULABLE_SECONDS = 300.0
EARLY_SPACING_SECONDS = 0.5
EARLY_PODS_PER_SECOND = 50.0
TIMERS_PER_POD_LIMIT = 8


@dataclass(slots=True, eq=False)
class QueuedPod:
    """A waiting pod and its history. Changed by the queue only."""

    pod: PodInfo
    arrival: int
    attempts: int = 0
    backoff_until: float = 0.0
    tried_at: float = 0.0
    was_early: bool = False
    rejected_by: frozenset[str] = field(default_factory=frozenset)
    ticket: int = 0
    popped: bool = False


class SchedulingQueue:
    """`holds_back(pod)`, `sort_key(pod, arrival)` and `may_help(plugins, pod, event)` are the profile's plugins."""

    def __init__(
        self,
        *,
        holds_back: Callable[[PodInfo], str],
        sort_key: Callable[[PodInfo, int], tuple[int, int]],
        may_help: Callable[[Collection[str], PodInfo, ClusterEvent], bool],
    ) -> None:
        self._holds_back = holds_back
        self._sort_key = sort_key
        self._may_help = may_help
        self._pods: dict[str, QueuedPod] = {}
        self._numbers = itertools.count(1)
        self._active: list[tuple[tuple[int, int], int, QueuedPod]] = []
        self._timers: list[tuple[float, int, QueuedPod]] = []
        self._unschedulable: dict[frozenset[str], dict[str, QueuedPod]] = {}
        self._early_left = EARLY_PODS_PER_SECOND
        self._early_counted_at = 0.0

    def __len__(self) -> int:
        """Pods known: waiting in any way, or out for an attempt."""
        return len(self._pods)

    def __contains__(self, key: object) -> bool:
        return key in self._pods

    @property
    def has_active(self) -> bool:
        """Would `pop` return a pod?"""
        self._drop_stale()
        return bool(self._active)

    def put(self, pod: PodInfo, now: float) -> None:
        """A new unscheduled pod, or a new version of one whose change matters to scheduling."""
        queued = self._pods.get(pod.key)
        if queued is not None and queued.pod.uid != pod.uid:
            self.remove(pod.key)
            queued = None
        if queued is None:
            queued = self._pods[pod.key] = QueuedPod(pod, next(self._numbers))
        elif queued.popped:
            queued.pod = pod
            return
        self._leave(queued)
        queued.pod = pod
        if not self._holds_back(pod):
            self._activate_at(queued, queued.backoff_until, now)

    def refresh(self, pod: PodInfo) -> None:
        """A new version of a pod whose change does not matter to scheduling."""
        queued = self._pods.get(pod.key)
        if queued is not None and queued.pod.uid == pod.uid:
            queued.pod = pod

    def remove(self, key: str) -> None:
        """The pod is scheduled or gone; unknown keys are no fault."""
        queued = self._pods.pop(key, None)
        if queued is not None:
            self._leave(queued)

    def pop(self, now: float) -> QueuedPod | None:
        """The next pod to try, None when no one is ready. The pod stays known until it is removed."""
        self._drop_stale()
        if not self._active:
            return None
        queued = heapq.heappop(self._active)[2]
        queued.ticket = 0
        queued.popped = True
        queued.attempts += 1
        queued.was_early = now < queued.backoff_until
        queued.tried_at = now
        return queued

    def refuse(self, queued: QueuedPod, rejected_by: frozenset[str], now: float) -> None:
        """No node fits: wait until an event may change that. No plugin named: any event may."""
        if self._pods.get(queued.pod.key) is not queued:
            return
        self._fail(queued, now)
        queued.rejected_by = rejected_by
        self._unschedulable.setdefault(rejected_by, {})[queued.pod.key] = queued
        self._at(now + MAX_UNSCHEDULABLE_SECONDS, queued)

    def retry(self, queued: QueuedPod, now: float) -> None:
        """The attempt failed for a reason that time may cure."""
        if self._pods.get(queued.pod.key) is not queued:
            return
        self._fail(queued, now)
        self._at(queued.backoff_until, queued)

    def on_event(self, event: ClusterEvent, now: float) -> int:
        """Wake the unschedulable pods that the event may help; how many there were."""
        woken = [
            queued
            for plugins, pods in self._unschedulable.items()
            for queued in pods.values()
            if not plugins or self._may_help(plugins, queued.pod, event)
        ]
        for queued in woken:
            self._leave(queued)
            when = queued.backoff_until
            if now < when and self._may_be_early(now):
                when = min(when, queued.tried_at + EARLY_SPACING_SECONDS) if queued.was_early else now
            self._activate_at(queued, when, now)
        return len(woken)

    def advance(self, now: float) -> None:
        """Activate the pods whose back-off, or longest wait, has ended."""
        while self._timers and self._timers[0][0] <= now:
            _, ticket, queued = heapq.heappop(self._timers)
            if queued.ticket == ticket:
                self._leave(queued)
                self._activate(queued)

    def next_timer(self) -> float | None:
        """When `advance` has something to do next, on the clock of `now`."""
        while self._timers and self._timers[0][2].ticket != self._timers[0][1]:
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def waiting(self) -> Iterator[QueuedPod]:
        """Every known pod, in order of arrival."""
        return iter(self._pods.values())

    def _fail(self, queued: QueuedPod, now: float) -> None:
        queued.popped = False
        delay = min(INITIAL_BACKOFF_SECONDS * 2 ** min(queued.attempts - 1, 30), MAX_BACKOFF_SECONDS)
        queued.backoff_until = now + delay

    def _may_be_early(self, now: float) -> bool:
        earned = (now - self._early_counted_at) * EARLY_PODS_PER_SECOND
        self._early_left = min(self._early_left + earned, EARLY_PODS_PER_SECOND)
        self._early_counted_at = now
        if self._early_left < 1:
            return False
        self._early_left -= 1
        return True

    def _activate_at(self, queued: QueuedPod, when: float, now: float) -> None:
        if now >= when:
            self._activate(queued)
        else:
            self._at(when, queued)

    def _activate(self, queued: QueuedPod) -> None:
        queued.ticket = next(self._numbers)
        heapq.heappush(self._active, (self._sort_key(queued.pod, queued.arrival), queued.ticket, queued))

    def _at(self, when: float, queued: QueuedPod) -> None:
        queued.ticket = next(self._numbers)
        heapq.heappush(self._timers, (when, queued.ticket, queued))
        if len(self._timers) > TIMERS_PER_POD_LIMIT * (len(self._pods) + 1):
            self._timers = [entry for entry in self._timers if entry[2].ticket == entry[1]]
            heapq.heapify(self._timers)

    def _leave(self, queued: QueuedPod) -> None:
        queued.ticket = 0
        pods = self._unschedulable.get(queued.rejected_by)
        if pods is not None and pods.pop(queued.pod.key, None) is not None and not pods:
            del self._unschedulable[queued.rejected_by]

    def _drop_stale(self) -> None:
        while self._active and self._active[0][2].ticket != self._active[0][1]:
            heapq.heappop(self._active)
