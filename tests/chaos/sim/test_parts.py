"""The parts of the simulated world, each by itself."""

from collections import Counter
from random import Random

import pytest

from chaos.sim.boundary import Boundaries, SimulatedCrash
from chaos.sim.clock import HostClock
from chaos.sim.disk import SimulatedDisk, Speed
from chaos.sim.heap import Heap
from chaos.sim.network import Network, Weather
from chaos.sim.trace import Trace
from kvstore.storage.port import StoreFull


def test_what_is_due_at_the_same_time_happens_in_the_order_in_which_it_was_asked_for() -> None:
    heap, seen = Heap(), list[int]()
    for number in range(5):
        heap.at(1.0, lambda number=number: seen.append(number))  # type: ignore[misc]
    heap.after(0.5, lambda: seen.append(-1))
    heap.run_until(2.0)
    assert seen == [-1, 0, 1, 2, 3, 4]
    assert heap.now == 2.0


def test_a_cancelled_timer_does_nothing_and_the_run_can_be_stopped() -> None:
    heap, seen = Heap(), list[str]()
    heap.after(1.0, lambda: seen.append("cancelled")).cancel()
    heap.after(2.0, lambda: seen.append("ran"))
    heap.after(3.0, lambda: seen.append("after the stop"))
    assert heap.run_until(9.0, lambda: bool(seen))
    assert seen == ["ran"]
    assert heap.now == 2.0


def test_a_clock_keeps_its_time_when_its_rate_changes_and_only_the_wall_clock_jumps() -> None:
    now = 100.0
    clock = HostClock(lambda: now, rate=2.0)
    now = 110.0
    assert clock.monotonic() == 120.0
    clock.set_rate(0.5)
    wall = clock.wall()
    clock.jump(-300.0)
    now = 120.0
    assert clock.monotonic() == 125.0
    assert clock.wall() == wall - 300.0 + 5.0
    assert clock.delay(1.0) == 2.0


def test_a_process_dies_at_the_boundary_that_it_was_armed_for() -> None:
    seen, died = Counter[str](), Counter[str]()
    boundaries = Boundaries(seen, died)
    boundaries.arm(2)
    boundaries.passed("one")
    with pytest.raises(SimulatedCrash, match="two"):
        boundaries.passed("two")
    boundaries.passed("three")
    assert died == {"two": 1}
    assert seen == {"one": 1, "two": 1, "three": 1}


def network(weather: Weather) -> tuple[Heap, Network]:
    heap = Heap()
    net = Network(heap, Trace(), Random(1))
    net.weather = weather
    return heap, net


def sent(heap: Heap, net: Network, count: int, *, in_order: bool = False) -> list[int]:
    seen: list[int] = []
    for number in range(count):
        heap.after(number * 0.001, lambda number=number: net.send(  # type: ignore[misc]
            "a", "b", "packet", lambda: seen.append(number), in_order=in_order))
    heap.run_until(60.0)
    return seen


def test_packets_of_a_good_link_arrive_once_and_in_order() -> None:
    assert sent(*network(Weather(jitter_seconds=0.5)), 100) == list(range(100))


def test_bad_weather_loses_repeats_and_reorders_but_a_connection_never_repeats_or_reorders() -> None:
    weather = Weather(loss=0.2, duplication=0.2, reordering=0.5)
    loose = sent(*network(weather), 300)
    assert len(set(loose)) < 290
    assert len(loose) > len(set(loose))
    assert loose != sorted(loose)
    steady = sent(*network(weather), 300, in_order=True)
    assert steady == sorted(set(steady))


def test_a_cut_link_carries_nothing_not_even_what_was_under_way() -> None:
    heap, net = network(Weather(delay_seconds=1.0))
    seen: list[str] = []
    net.send("a", "b", "packet", lambda: seen.append("lost"))
    heap.run_until(0.5)
    net.separate("a", "b", one_way=True)
    assert not net.send("a", "b", "packet", lambda: seen.append("lost"))
    assert net.send("b", "a", "packet", lambda: seen.append("the other way"))
    heap.run_until(5.0)
    assert seen == ["the other way"]


def disk_on(heap: Heap) -> SimulatedDisk:
    return SimulatedDisk(heap, Random(1), lambda callback: callback(), Boundaries(Counter(), Counter()), Speed())


def test_a_disk_works_in_order_and_what_fails_fails_in_its_turn() -> None:
    heap, seen = Heap(), list[str]()
    disk = disk_on(heap)
    for name in "ab":
        disk.submit(lambda name=name: seen.append(f"{name} saved"),  # type: ignore[misc]
                    lambda name=name: seen.append(f"{name} told"))  # type: ignore[misc]
    heap.run_until(1.0)
    assert seen == ["a saved", "a told", "b saved", "b told"]

    def fail() -> None:
        raise OSError(5, "simulated")

    disk.submit(fail, lambda: seen.append("never"))
    with pytest.raises(OSError, match="simulated"):
        heap.run_until(2.0)
    assert "never" not in seen


def test_a_trace_differs_where_one_event_differs() -> None:
    first, second = Trace(), Trace()
    first.note(1.0, "m1", "put", "x")
    second.note(1.0, "m1", "put", "y")
    assert first.digest() != second.digest()
    assert first.counts == second.counts


def test_work_that_finds_no_room_waits_for_it_and_all_later_work_behind_it() -> None:
    heap, seen, has_room = Heap(), list[str](), False
    disk = disk_on(heap)

    def work(name: str) -> None:
        if not has_room:
            raise StoreFull("simulated")
        seen.append(name)

    for name in "ab":
        disk.submit(lambda name=name: work(name), lambda: None)  # type: ignore[misc]
    heap.run_until(5.0)
    assert seen == []
    assert disk.is_full
    assert not disk.drain()
    has_room = True
    heap.run_until(6.0)
    assert seen == ["a", "b"]
    assert not disk.is_full
