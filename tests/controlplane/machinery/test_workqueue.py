"""The work queue against its promises, on virtual time."""

import asyncio
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from controlplane.machinery.workqueue import WorkQueue
from tests.controlplane.fakes import run_virtual, settle


def test_a_key_added_many_times_is_handed_out_once() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(Random(1))
        for _ in range(5):
            queue.add("a")
        queue.add("b")
        assert [await queue.get(), await queue.get()] == ["a", "b"]
        assert len(queue) == 0

    run_virtual(main())


def test_a_key_added_while_it_is_worked_on_comes_back_after_done_and_not_before() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(Random(1))
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert len(queue) == 0
        queue.done("a")
        assert await queue.get() == "a"
        queue.done("a")
        assert len(queue) == 0

    run_virtual(main())


def test_failures_of_a_key_double_its_delay_up_to_the_maximum_and_forget_resets_it() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(Random(1), initial_delay_seconds=1, maximum_delay_seconds=10)
        delays = [queue.add_rate_limited("a") for _ in range(8)]
        assert all(0.75 <= delay / expected <= 1.25 for delay, expected in zip(delays, [1, 2, 4, 8, 10, 10, 10, 10]))
        queue.forget("a")
        assert queue.failures("a") == 0
        assert queue.add_rate_limited("a") <= 1.25
        queue.close()

    run_virtual(main())


def test_of_several_delays_the_earliest_counts() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        queue: WorkQueue[str] = WorkQueue(Random(1))
        queue.add_after("a", 10)
        queue.add_after("a", 3)
        queue.add_after("a", 7)
        assert await queue.get() == "a"
        assert loop.time() == 3
        queue.done("a")
        queue.close()

    run_virtual(main())


def test_a_cancelled_getter_does_not_swallow_a_key() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue(Random(1))
        first, second = asyncio.ensure_future(queue.get()), asyncio.ensure_future(queue.get())
        await settle()
        queue.add("a")
        first.cancel()
        assert await second == "a"

    run_virtual(main())


@given(st.lists(st.tuples(st.sampled_from(["add", "get", "done"]), st.integers(0, 3)), max_size=60))
def test_no_key_is_lost_and_none_is_worked_on_twice_at_once(steps: list[tuple[str, int]]) -> None:
    async def main() -> None:
        queue: WorkQueue[int] = WorkQueue(Random(1))
        wanted: set[int] = set()  # the model: added since the key was last handed out
        working: set[int] = set()
        for step, key in steps:
            if step == "add":
                queue.add(key)
                wanted.add(key)
            elif step == "done" and key in working:
                queue.done(key)
                working.remove(key)
            elif step == "get" and wanted - working:
                got = await queue.get()
                assert got in wanted and got not in working
                wanted.remove(got)
                working.add(got)
            assert len(queue) == len(wanted - working)

    run_virtual(main())
