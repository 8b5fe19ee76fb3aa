"""Random walks: messages are delivered, dropped, repeated and reordered, fsyncs end late, members crash and forget."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chaos.sim.walk import Walk


@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True)
@given(seed=st.integers(0, 1 << 32), size=st.sampled_from((1, 2, 3, 3, 5)))
def test_no_walk_breaks_an_invariant_and_every_walk_can_be_healed(seed: int, size: int) -> None:
    Walk(seed, size).run(600)


@pytest.mark.parametrize("seed", range(200))
def test_walks_of_three_members(seed: int) -> None:
    Walk(seed, 3).run(800)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1000, 1400))
def test_long_walks_of_five_members(seed: int) -> None:
    Walk(seed, 5).run(4000)
