"""Seats, queues and hands: who runs, who waits, who is refused."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.fairness.fairness import list_seats
from controlplane.apiserver.fairness.level import Level, Rejected, Seats, Settings, hand_of

QUEUING = Settings("l", queues=16, hand_size=4, queue_length=5)


def level(nominal: int, settings: Settings = QUEUING, seats: Seats | None = None) -> Level:
    made = Level(settings, seats or Seats())
    made.configure(settings, nominal)
    return made


@given(flow=st.text(), queues=st.integers(1, 200), size=st.integers(1, 12))
def test_a_hand_has_different_queues_and_is_always_the_same(flow: str, queues: int, size: int) -> None:
    hand = hand_of(flow, queues, size)
    assert len(set(hand)) == len(hand) == min(size, queues) and all(0 <= each < queues for each in hand)
    assert hand_of(flow, queues, size) == hand


def test_hands_use_all_queues_alike() -> None:
    counts = [0] * 16
    for number in range(4000):
        for index in hand_of(f"user-{number}", 16, 4):
            counts[index] += 1
    assert min(counts) > 800 and max(counts) < 1200  # 1000 each, give or take


async def test_requests_run_while_there_are_seats_and_then_in_their_order() -> None:
    one = level(2)
    assert one.try_enter(1) and one.try_enter(1) and not one.try_enter(1)
    order: list[int] = []

    async def request(number: int) -> None:
        await one.wait((0,), 1, 10)
        order.append(number)

    tasks = [asyncio.create_task(request(number)) for number in range(3)]
    await asyncio.sleep(0)
    assert one.waiting == 3 and not one.try_enter(1)
    for _ in range(3):
        one.leave(1)
        await asyncio.sleep(0)
    await asyncio.gather(*tasks)
    assert order == [0, 1, 2] and one.executing == 2 and one.waiting == 0


async def test_queues_take_turns_so_that_a_noisy_flow_starves_nobody() -> None:
    """A hundred requests of one flow wait; ten of another come after them, and are through after twenty turns."""
    one = level(1, Settings("l", queues=16, hand_size=1, queue_length=200))
    assert one.try_enter(1)
    done: list[str] = []

    async def request(flow: str, queue: int) -> None:
        await one.wait((queue,), 1, 60)
        done.append(flow)
        await asyncio.sleep(0)
        one.leave(1)

    tasks = [asyncio.create_task(request("noisy", 3)) for _ in range(100)]
    await asyncio.sleep(0)
    tasks += [asyncio.create_task(request("quiet", 9)) for _ in range(10)]
    await asyncio.sleep(0)
    one.leave(1)
    await asyncio.gather(*tasks)
    assert done[:21].count("quiet") == 10


async def test_wide_requests_count_for_more_in_their_queues_turn() -> None:
    one = level(4, Settings("l", queues=2, hand_size=1, queue_length=100))
    assert one.try_enter(4)
    done: list[str] = []

    async def request(flow: str, queue: int, seats: int) -> None:
        await one.wait((queue,), seats, 60)
        done.append(flow)
        await asyncio.sleep(0)
        one.leave(seats)

    tasks = [asyncio.create_task(request("wide", 0, 4)) for _ in range(5)]
    tasks += [asyncio.create_task(request("narrow", 1, 1)) for _ in range(20)]
    await asyncio.sleep(0)
    one.leave(4)
    await asyncio.gather(*tasks)
    assert done[:10].count("wide") <= 3


async def test_a_full_queue_and_a_long_wait_are_refused() -> None:
    one = level(1)
    assert one.try_enter(1)
    waiting = [asyncio.create_task(one.wait((1,), 1, 10)) for _ in range(5)]
    await asyncio.sleep(0)
    with pytest.raises(Rejected, match="queue-full"):
        await one.wait((1,), 1, 10)
    with pytest.raises(Rejected, match="time-out"):
        await one.wait((2,), 1, 0.001)
    waiting[0].cancel()
    await asyncio.gather(waiting[0], return_exceptions=True)
    assert one.waiting == 4
    for _ in range(5):
        one.leave(1)
        await asyncio.sleep(0)
    await asyncio.gather(*waiting[1:])
    assert (one.executing, one.waiting) == (0, 0)


async def test_a_level_without_queues_refuses_at_once() -> None:
    one = level(1, Settings("l"))
    assert one.try_enter(1) and not one.try_enter(1)
    with pytest.raises(Rejected, match="concurrency-limit"):
        await one.wait((), 1, 10)


async def test_idle_seats_are_lent_and_come_back_to_who_owns_them() -> None:
    seats = Seats()
    lender = level(4, Settings("lender", lendable_percent=50, queues=4, hand_size=1, queue_length=9), seats)
    borrower = level(1, QUEUING, seats)
    seats.levels = [lender, borrower]
    assert [borrower.try_enter(1) for _ in range(4)] == [True, True, True, False]
    assert [lender.try_enter(1) for _ in range(5)] == [True, True, True, True, False]
    waiting = asyncio.create_task(borrower.wait((0,), 1, 10))
    await asyncio.sleep(0)
    for _ in range(2):  # what was borrowed goes back first
        borrower.leave(1)
        await asyncio.sleep(0)
    assert not waiting.done()
    borrower.leave(1)
    await waiting


async def test_other_settings_lose_nobody_that_waits() -> None:
    one = level(1)
    assert one.try_enter(1)
    waiting = [asyncio.create_task(one.wait((number,), 1, 10)) for number in range(6)]
    await asyncio.sleep(0)
    one.configure(Settings("l", queues=2, hand_size=1, queue_length=5), 3)
    await asyncio.sleep(0)
    assert one.executing == 3 and one.waiting == 4
    one.configure(Settings("l"), 100)
    await asyncio.gather(*waiting)


@pytest.mark.parametrize(
    ("count", "limit", "seats"), [(0, 0, 1), (100, 0, 1), (101, 0, 2), (5000, 0, 10), (5000, 500, 5), (5000, 1, 1)]
)
def test_a_list_takes_seats_by_its_objects(count: int, limit: int, seats: int) -> None:
    assert list_seats(count, limit) == seats
