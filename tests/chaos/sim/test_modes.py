"""Beside whole worlds: the smallest schedule, a death at every boundary, walks."""

import json

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from chaos.sim.command import sim
from chaos.sim.every import Coverage, one_of_each, sweep
from chaos.sim.files import SimulatedFiles
from chaos.sim.run import Options, simulate
from chaos.sim.shrink import minimize, shrink
from chaos.sim.walk import walk


@given(st.sets(st.integers(0, 40)), st.sets(st.integers(0, 40), max_size=4))
def test_what_is_left_is_what_it_takes(others: set[int], needed: set[int]) -> None:
    items = sorted(others | needed)
    assert minimize(items, lambda part: needed <= set(part)) == tuple(sorted(needed))


def test_a_planted_bug_is_shrunk_to_the_faults_that_it_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A log that is never synced: nothing but a crash can tell."""
    monkeypatch.setattr(SimulatedFiles, "fdatasync", lambda self, file: None)
    options = Options(seconds=4.0, members=3, faults=("crash", "clock jump", "compaction", "delay"))
    seed = next(seed for seed in range(1, 99) if len({name for _, _, name, _ in broken(seed, options)}) >= 2)
    smaller, report = shrink(seed, options)
    assert report.violations["invariants"]
    assert [name for _, _, name, _ in report.schedule] == ["crash"] * len(smaller.only or ())
    again = simulate(seed, smaller)
    assert (again.trace, again.violations) == (report.trace, report.violations)


def broken(seed: int, options: Options) -> list[tuple[int, float, str, float]]:
    """The schedule of a run that broke an invariant, else nothing."""
    report = simulate(seed, options)
    return report.schedule if report.violations["invariants"] else []


def test_a_death_at_each_kind_of_boundary_breaks_nothing() -> None:
    coverage = Coverage()
    for run in one_of_each(1):
        coverage.add(run)
    assert coverage.broken == []
    assert coverage.never_died_at == []
    assert coverage.died.total() == coverage.runs


@pytest.mark.slow
def test_a_death_at_each_boundary_breaks_nothing() -> None:
    coverage = Coverage()
    for run in sweep(1):
        coverage.add(run)
    assert coverage.broken == []
    assert coverage.never_died_at == []
    assert coverage.died.total() == coverage.runs


def test_a_walk_is_what_its_seed_says_and_a_core_that_forgets_its_vote_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    assert walk(5, 1000) == walk(5, 1000)
    assert walk(5, 1000).violation == ""
    monkeypatch.setattr("chaos.sim.cores.Disk.write", lambda self, persist: None)
    assert any(walk(seed, 1000).violation for seed in range(10))


def test_the_command_walks_shrinks_and_dies_everywhere() -> None:
    runner = CliRunner()
    walked = runner.invoke(sim, ["--walk", "--seeds", "1-3", "--steps", "300", "-o", "json"])
    assert walked.exit_code == 0, walked.output
    assert [json.loads(line)["seed"] for line in walked.stdout.splitlines()] == [1, 2, 3]
    swept = runner.invoke(sim, ["--every-boundary", "--stride", "1200", "-o", "json"])
    assert json.loads(swept.stdout.splitlines()[-1])["broken"] == 0, swept.output
    assert "every promise held" in runner.invoke(sim, ["--seed", "2", "--seconds", "3", "--shrink"]).output
    assert runner.invoke(sim, ["--seed", "2", "--seconds", "3", "--only", "1,2"]).exit_code == 0
    assert runner.invoke(sim, ["--only", "1"]).exit_code == 2
    assert runner.invoke(sim, ["--seed", "1", "--only", "x"]).exit_code == 2
