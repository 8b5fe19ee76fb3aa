"""The queue: order, back-off, and who is woken by what."""

from collections.abc import Collection
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.scheduler.cluster_events import ClusterChange, ClusterEvent
from controlplane.scheduler.podinfo import PodInfo, read_pod
from controlplane.scheduler.queue import MAX_UNSCHEDULABLE_SECONDS, QueuedPod, SchedulingQueue

NODE_ADDED = ClusterEvent(ClusterChange.NODE_ADDED)


def pod(name: str, priority: int = 0, gates: int = 0, uid: str = "") -> PodInfo:
    spec: dict[str, Any] = {"priority": priority, "containers": []}
    if gates:
        spec["schedulingGates"] = [{"name": "g"}]
    return read_pod({"metadata": {"name": name, "namespace": "default", "uid": uid or name}, "spec": spec})


def queue(helped: Collection[str] = ("Fit",)) -> SchedulingQueue:
    """A queue whose events help exactly the pods that a plugin in `helped` rejected."""
    return SchedulingQueue(
        holds_back=lambda info: "gated" if info.scheduling_gates else "",
        sort_key=lambda info, arrival: (-info.priority, arrival),
        may_help=lambda plugins, info, event: bool(set(plugins) & set(helped)),
    )


def popped(waiting: SchedulingQueue, now: float) -> QueuedPod:
    queued = waiting.pop(now)
    assert queued is not None
    return queued


def test_the_highest_priority_goes_first_and_equals_go_in_order_of_arrival() -> None:
    waiting = queue()
    for name, priority in (("a", 0), ("b", 5), ("c", 5), ("d", 9)):
        waiting.put(pod(name, priority), 0.0)
    assert [popped(waiting, 0.0).pod.name for _ in range(4)] == ["d", "b", "c", "a"]
    assert waiting.pop(0.0) is None


def test_a_gated_pod_waits_until_its_gates_are_gone() -> None:
    waiting = queue()
    waiting.put(pod("a", gates=1), 0.0)
    assert waiting.pop(0.0) is None and waiting.next_timer() is None
    waiting.put(pod("a"), 1.0)
    assert popped(waiting, 1.0).pod.name == "a"


def test_backoff_doubles_from_one_second_to_ten() -> None:
    waiting = queue()
    waiting.put(pod("a"), 0.0)
    now, delays = 0.0, []
    for _ in range(6):
        queued = popped(waiting, now)
        waiting.retry(queued, now)
        when = waiting.next_timer()
        assert when is not None and waiting.pop(now) is None
        delays.append(when - now)
        now = when
        waiting.advance(now)
    assert delays == [1, 2, 4, 8, 10, 10]


def test_an_event_wakes_only_pods_that_it_may_help() -> None:
    waiting = queue(helped=("Fit",))
    for name, plugin in (("a", "Fit"), ("b", "Taints")):
        waiting.put(pod(name), 0.0)
        waiting.refuse(popped(waiting, 0.0), frozenset({plugin}), 0.0)
    assert waiting.on_event(NODE_ADDED, 5.0) == 1
    assert popped(waiting, 5.0).pod.name == "a"
    assert waiting.pop(5.0) is None


def test_any_event_wakes_a_pod_that_no_plugin_rejected() -> None:
    waiting = queue(helped=())
    waiting.put(pod("a"), 0.0)
    waiting.refuse(popped(waiting, 0.0), frozenset(), 0.0)
    assert waiting.on_event(NODE_ADDED, 0.0) == 1


def attempts_under_a_storm(pods: int, seconds: float) -> int:
    """Attempts when every pod fits nowhere, and a hundred times a second something happens that could help."""
    waiting = queue()
    for number in range(pods):
        waiting.put(pod(f"p{number}"), 0.0)
    attempts = 0
    for tick in range(int(seconds * 100)):
        now = tick / 100
        waiting.advance(now)
        for queued in iter(lambda: waiting.pop(now), None):  # noqa: B023
            attempts += 1
            waiting.refuse(queued, frozenset({"Fit"}), now)
        waiting.on_event(NODE_ADDED, now)
    return attempts


def test_a_stream_of_events_does_not_become_a_stream_of_attempts() -> None:
    assert 60 <= attempts_under_a_storm(pods=1, seconds=60) <= 125
    # One attempt a pod in ten seconds by back-off (after the first few), fifty more a second for all.
    assert attempts_under_a_storm(pods=300, seconds=30) <= 300 * (4 + 3) + 50 * 31


def test_a_refused_pod_is_tried_at_once_when_a_node_comes_then_every_half_second() -> None:
    waiting = queue()
    waiting.put(pod("a"), 0.0)
    waiting.refuse(popped(waiting, 0.0), frozenset({"Fit"}), 0.0)
    waiting.on_event(NODE_ADDED, 0.1)
    for now in (0.1, 0.6, 1.1):
        waiting.advance(now)
        waiting.refuse(popped(waiting, now), frozenset({"Fit"}), now)
        waiting.on_event(NODE_ADDED, now + 0.1)
        assert waiting.next_timer() == now + 0.5


def test_an_event_long_after_the_last_attempt_is_answered_at_once() -> None:
    waiting = queue()
    waiting.put(pod("a"), 0.0)
    for now in (0.0, 1.0, 3.0, 7.0, 15.0):
        waiting.refuse(popped(waiting, now), frozenset({"Fit"}), now)
        later = now + 0.6
        waiting.on_event(NODE_ADDED, later)
        assert waiting.has_active


def test_an_unschedulable_pod_is_tried_again_after_five_minutes_without_an_event() -> None:
    waiting = queue()
    waiting.put(pod("a"), 0.0)
    waiting.refuse(popped(waiting, 0.0), frozenset({"Fit"}), 0.0)
    waiting.advance(MAX_UNSCHEDULABLE_SECONDS - 1)
    assert waiting.pop(MAX_UNSCHEDULABLE_SECONDS - 1) is None
    waiting.advance(MAX_UNSCHEDULABLE_SECONDS)
    assert popped(waiting, MAX_UNSCHEDULABLE_SECONDS).pod.name == "a"


def test_a_removed_pod_is_not_tried_and_its_late_failure_is_ignored() -> None:
    waiting = queue()
    waiting.put(pod("a"), 0.0)
    queued = popped(waiting, 0.0)
    waiting.remove("default/a")
    waiting.retry(queued, 0.0)
    waiting.refuse(queued, frozenset(), 0.0)
    assert len(waiting) == 0 and waiting.next_timer() is None
    waiting.put(pod("b"), 0.0)
    waiting.remove("default/b")
    assert waiting.pop(0.0) is None


def test_a_pod_created_again_under_its_name_starts_afresh() -> None:
    waiting = queue()
    waiting.put(pod("a", uid="1"), 0.0)
    old = popped(waiting, 0.0)
    waiting.put(pod("a", uid="2"), 0.0)
    waiting.retry(old, 0.0)
    fresh = popped(waiting, 0.0)
    assert (fresh.pod.uid, fresh.attempts) == ("2", 1)


ACTIONS = st.lists(
    st.tuples(st.sampled_from(["put", "remove", "pop", "refuse", "retry", "event", "wait"]), st.integers(0, 4)),
    max_size=60,
)


@settings(max_examples=300, deadline=None)
@given(ACTIONS)
def test_every_known_pod_is_out_or_will_be_tried_again(actions: list[tuple[str, int]]) -> None:
    waiting, out, known, now = queue(), [], set(), 0.0
    for what, number in actions:
        name = f"p{number}"
        if what == "put":
            waiting.put(pod(name, priority=number), now)
            known.add(f"default/{name}")
        elif what == "remove":
            waiting.remove(f"default/{name}")
            known.discard(f"default/{name}")
        elif what == "pop" and (queued := waiting.pop(now)):
            assert queued.pod.key in known
            out.append(queued)
        elif what == "refuse" and out:
            waiting.refuse(out.pop(), frozenset({"Fit"} if number % 2 else {"Taints"}), now)
        elif what == "retry" and out:
            waiting.retry(out.pop(), now)
        elif what == "event":
            waiting.on_event(NODE_ADDED, now)
        elif what == "wait":
            now += number
            waiting.advance(now)
    assert {queued.pod.key for queued in waiting.waiting()} == known
    away = {id(queued) for queued in out}
    now += MAX_UNSCHEDULABLE_SECONDS
    waiting.advance(now)
    tried = {queued.pod.key for queued in iter(lambda: waiting.pop(now), None)}
    assert tried == {queued.pod.key for queued in waiting.waiting() if id(queued) not in away}
