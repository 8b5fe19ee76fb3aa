"""Leader election on virtual time: never two leaders, always soon one."""

import asyncio
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controlplane.machinery.client import ApiError
from controlplane.machinery.clock import FakeClock
from controlplane.machinery.election import ElectionConfig, LeaderElector
from controlplane.objects.kinds import LEASES
from tests.controlplane.fakes import FakeApi, run_virtual

LEASE, DEADLINE, RETRY = 3.0, 2.0, 0.5


class World:
    """Some candidates on one API; `leaders` are those whose work runs now."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.api = FakeApi(self.clock)
        self.leaders: set[str] = set()
        self.terms: list[tuple[str, int]] = []
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.apis: dict[str, FakeApi] = {}

    def start(self, identity: str) -> None:
        config = ElectionConfig("kube-x", identity, "kube-system", LEASE, DEADLINE, RETRY)
        elector = LeaderElector(self.api.client(), config, clock=self.clock, random=Random(identity))

        async def work(token: int) -> None:
            assert not self.leaders, f"{identity} and {self.leaders} lead at once"
            self.leaders.add(identity)
            self.terms.append((identity, token))
            try:
                await asyncio.Event().wait()
            finally:
                self.leaders.remove(identity)

        self.tasks[identity] = asyncio.ensure_future(elector.run(work))

    async def stop(self, identity: str) -> None:
        task = self.tasks.pop(identity)
        task.cancel()
        await asyncio.wait((task,))

    async def wait_leader(self, limit: float = 10.0) -> str:
        loop = asyncio.get_running_loop()
        end = loop.time() + limit
        while not self.leaders:
            assert loop.time() < end, "nobody leads"
            await asyncio.sleep(0.01)
        (leader,) = self.leaders
        return leader


def test_one_of_three_leads_and_keeps_leading() -> None:
    world = World()

    async def main() -> None:
        for identity in "abc":
            world.start(identity)
        leader = await world.wait_leader()
        await asyncio.sleep(60)
        assert world.leaders == {leader} and len(world.terms) == 1

    run_virtual(main(), world.clock)
    (lease,) = world.api.all(LEASES)
    assert lease["spec"]["leaseTransitions"] == 0


def test_a_clean_stop_hands_over_at_once_with_a_new_token() -> None:
    world = World()

    async def main() -> None:
        for identity in "abc":
            world.start(identity)
        first = await world.wait_leader()
        await asyncio.sleep(5)
        before = asyncio.get_running_loop().time()
        await world.stop(first)
        second = await world.wait_leader()
        assert second != first
        assert asyncio.get_running_loop().time() - before < RETRY
        assert [token for _, token in world.terms] == [0, 1]

    run_virtual(main(), world.clock)


def test_a_leader_that_vanishes_is_replaced_within_the_lease_and_a_retry() -> None:
    world = World()

    async def main() -> None:
        world.start("a")
        await world.wait_leader()
        await asyncio.sleep(5)
        world.start("b")
        world.start("c")
        world.api.fail_next("update", ApiError(500, "InternalError", "dead"), LEASES)  # the release does not arrive
        await asyncio.sleep(1)
        before = asyncio.get_running_loop().time()
        await world.stop("a")
        await world.wait_leader()
        assert asyncio.get_running_loop().time() - before < LEASE + RETRY

    run_virtual(main(), world.clock)


def test_without_an_api_the_leader_stops_before_its_lease_runs_out() -> None:
    world = World()

    async def main() -> None:
        world.start("a")
        await world.wait_leader()
        await asyncio.sleep(5)
        world.api.down = True
        await asyncio.sleep(DEADLINE + RETRY)
        assert not world.leaders
        world.api.down = False
        assert await world.wait_leader() == "a"

    run_virtual(main(), world.clock)


def test_work_that_ends_or_fails_ends_the_run_and_releases_the_lease() -> None:
    world = World()

    async def main() -> None:
        config = ElectionConfig("kube-x", "a", "kube-system", LEASE, DEADLINE, RETRY)
        elector = LeaderElector(world.api.client(), config, clock=world.clock, random=Random(1))

        async def fail(token: int) -> None:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            await elector.run(fail)
        assert world.api.find(LEASES, "kube-x", "kube-system")["spec"]["holderIdentity"] == ""
        assert not elector.is_leader

    run_virtual(main(), world.clock)


def test_timing_that_cannot_be_safe_is_refused() -> None:
    with pytest.raises(ValueError, match="lease duration"):
        ElectionConfig("x", "a", lease_duration_seconds=2, renew_deadline_seconds=2, retry_period_seconds=1)


STEP = st.tuples(
    st.sampled_from(["start", "stop", "down", "up", "disconnect", "fail"]), st.sampled_from("abc"), st.floats(0.01, 5)
)


@settings(max_examples=80, deadline=None)
@given(st.lists(STEP, max_size=20))
def test_there_are_never_two_leaders_whatever_happens(steps: list[tuple[str, str, float]]) -> None:
    world = World()

    async def main() -> None:
        for step, identity, pause in steps:
            if step == "start" and identity not in world.tasks:
                world.start(identity)
            elif step == "stop" and identity in world.tasks:
                await world.stop(identity)
            elif step in ("down", "up"):
                world.api.down = step == "down"
            elif step == "disconnect":
                world.api.disconnect_watches()
            elif step == "fail":
                world.api.fail_next("update", ApiError(500, "InternalError", "no"), LEASES)
            await asyncio.sleep(pause)
        world.api.down = False
        if world.tasks:
            await world.wait_leader(4 * LEASE)
        assert [token for _, token in world.terms] == sorted(token for _, token in world.terms)

    run_virtual(main(), world.clock)
