"""Whole worlds: promises hold, seeds replay, and a store that lies is caught."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from chaos.sim.command import sim
from chaos.sim.faults import FAULTS
from chaos.sim.run import Options, simulate
from chaos.sim.swarm import FAULT_NAMES
from kvstore.storage.file_log import FileLog


def test_the_swarm_and_the_nemesis_know_the_same_faults() -> None:
    assert set(FAULT_NAMES) == set(FAULTS)


@pytest.mark.parametrize("seed", range(1, 5))
def test_every_promise_holds_in_a_world_with_faults(seed: int) -> None:
    report = simulate(seed, Options(seconds=15.0))
    assert not any(report.violations.values()), report.violations
    assert report.is_live, report.recovery_seconds
    assert report.operations["ok"] > 10


def test_every_fault_can_act_and_is_survived() -> None:
    report = simulate(3, Options(seconds=12.0, members=3, faults=FAULT_NAMES))
    assert report.is_safe, report.violations
    assert report.is_live
    assert sum(name.startswith("fault ") for name in report.counts) >= 3


def test_a_seed_gives_the_same_run_under_any_hash_seed() -> None:
    command = [sys.executable, "-c", "from chaos.sim.command import sim; sim()", "--seed", "11", "--seconds", "10", "-o", "json"]
    outputs = {
        subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": seed}, check=True, capture_output=True).stdout
        for seed in ("0", "42")
    }
    assert len(outputs) == 1


def test_a_log_that_promises_before_it_has_saved_is_caught(monkeypatch: pytest.MonkeyPatch) -> None:
    """A planted bug: the write is acknowledged, and a power cut takes it."""
    save = FileLog.save

    def forgetful(self: FileLog, *persists: object) -> None:
        if any(getattr(persist, "entries", ()) for persist in persists) and is_forgotten():
            return
        save(self, *persists)  # type: ignore[arg-type]

    choices = 0

    def is_forgotten() -> bool:
        nonlocal choices
        choices += 1
        return choices % 7 == 0

    monkeypatch.setattr(FileLog, "save", forgetful)
    caught = 0
    for seed in range(1, 6):
        caught += not simulate(seed, Options(seconds=30.0, faults=("crash of all", "crash"))).is_safe
    assert caught


def test_the_command_prints_a_verdict_and_refuses_what_it_does_not_know() -> None:
    runner = CliRunner()
    shown = runner.invoke(sim, ["--seed", "2", "--seconds", "5"])
    assert shown.exit_code == 0, shown.output
    assert "every promise held" in shown.output
    many = runner.invoke(sim, ["--seeds", "1-3", "--seconds", "3", "--jobs", "1", "-o", "json"])
    assert [json.loads(line)["seed"] for line in many.stdout.splitlines()] == [1, 2, 3]
    assert runner.invoke(sim, ["--faults", "rain"]).exit_code == 2
    assert runner.invoke(sim, ["--seeds", "x"]).exit_code == 2
