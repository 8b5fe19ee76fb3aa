"""Random sequences."""

import asyncio

import pytest
from hypothesis import HealthCheck, given, settings

from tests.differential.arena import Arena, peers
from tests.differential.steps import Step, sequences

pytestmark = pytest.mark.skipif(not peers(), reason="no etcd is installed (Debian: etcd-server; make tools)")


@given(sequence=sequences())
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None)
def test_random_sequences_get_the_same_answers_and_events(
    arena: Arena, runner: asyncio.Runner, sequence: list[Step]
) -> None:
    runner.run(arena.play(sequence))


@pytest.mark.slow
@given(sequence=sequences(30))
@settings(max_examples=10_000, deadline=None, suppress_health_check=list(HealthCheck))
def test_many_random_sequences_get_the_same_answers_and_events(
    arena: Arena, runner: asyncio.Runner, sequence: list[Step]
) -> None:
    runner.run(arena.play(sequence))
