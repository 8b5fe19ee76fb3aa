"""Random sequences."""

import asyncio
import time

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from tests.differential.arena import Arena, peers
from tests.differential.requests import sequences
from tests.differential.scenes import alarms, contests, members, people
from tests.differential.steps import Step

pytestmark = pytest.mark.skipif(not peers(), reason="no etcd is installed (Debian: etcd-server; make tools)")

SCENES = {"keys": sequences, "users": people, "members": members, "alarms": alarms, "locks": contests}
SHARE = {"keys": 90, "users": 50, "members": 10, "alarms": 25, "locks": 25}  # of 200
PARTS = 4  # of the long run, so that one difference does not hide the others


def check(
    arena: Arena, runner: asyncio.Runner, scene: st.SearchStrategy[list[Step]], count: int, number: int = 0
) -> None:
    """Play `count` sequences of a scene, shrinking one that shows a difference."""

    @seed(number)
    @settings(
        max_examples=count, deadline=None, suppress_health_check=list(HealthCheck), database=None,
        phases=(Phase.generate, Phase.shrink), derandomize=False,
    )  # fmt: skip
    @given(sequence=scene)
    def play(sequence: list[Step]) -> None:
        runner.run(arena.play(sequence))
        if arena.played % 250 == 0:
            print(f"{arena.played} sequences, {arena.played / (time.monotonic() - begin):.0f}/s", flush=True)

    begin, arena.played, arena.abandoned = time.monotonic(), 0, 0
    play()
    assert arena.abandoned <= 2 + count // 100, f"{arena.abandoned} of {count} sequences came to nothing"


@pytest.mark.parametrize("scene", SCENES)
def test_random_sequences_get_the_same_answers_and_events(arena: Arena, runner: asyncio.Runner, scene: str) -> None:
    check(arena, runner, SCENES[scene](18), SHARE[scene])


@pytest.mark.slow
@pytest.mark.parametrize("scene", SCENES)
@pytest.mark.parametrize("part", range(PARTS))
def test_ten_thousand_random_sequences_get_the_same_answers_and_events(
    arena: Arena, runner: asyncio.Runner, scene: str, part: int
) -> None:
    check(arena, runner, SCENES[scene](25), -(-SHARE[scene] * 50 // PARTS), 1 + part)
