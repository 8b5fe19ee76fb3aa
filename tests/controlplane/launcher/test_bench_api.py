"""`pilothouse bench api`: what it refuses, how it judges and draws, and a small run."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from controlplane.launcher.bench.api import load
from controlplane.launcher.bench.api.command import result, table
from controlplane.launcher.bench.api.measures import MEASURES
from controlplane.launcher.bench.api.plot import picture, times_better
from controlplane.launcher.bench.command import bench
from controlplane.launcher.state import LauncherError

KNOWN = {one.name: one for one in MEASURES}
needs_wrk = pytest.mark.skipif(shutil.which(load.PROGRAM) is None, reason="wrk is not installed (Debian: wrk)")


@needs_wrk
def test_a_measure_that_does_not_exist_is_refused() -> None:
    answer = CliRunner().invoke(bench, ["api", "--measures", "gets,nonsense"])
    assert answer.exit_code == 2 and "nonsense" in answer.output and "gets-1" in answer.output


def test_a_missing_wrk_is_told_with_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "PROGRAM", "no-such-wrk")
    with pytest.raises(LauncherError, match="apt install wrk"):
        load.installed()


def test_figures_are_held_against_must_and_aim() -> None:
    verdicts = [result(KNOWN["gets"], ours).verdict for ours in (4999, 5000, 12_000)]
    assert verdicts == ["missed", "reached", "aim reached"]
    verdicts = [result(KNOWN["list"], ours).verdict for ours in (0.11, 0.1, 0.02)]
    assert verdicts == ["missed", "reached", "aim reached"]
    assert result(KNOWN["gets-cpu"], 70).verdict == ""


def test_the_table_and_the_picture_show_every_measure() -> None:
    results = [result(measure, 100.0) for measure in MEASURES]
    assert all(measure.text in table(results, KNOWN) for measure in MEASURES)
    svg = picture(results, KNOWN)
    assert svg.count('class="ours"') == sum(measure.must is not None for measure in MEASURES)
    gets = result(KNOWN["gets"], 3190)
    assert times_better(gets, gets.ours) == 2.0 and times_better(result(KNOWN["list"], 0.19), 0.19) == 2.0


@pytest.mark.e2e
@needs_wrk
def test_a_small_run_measures_all(tmp_path: Path) -> None:
    sizes = [
        "--seconds",
        "1",
        "--listed",
        "50",
        "--kept",
        "100",
        "--watches",
        "20",
        "--plot",
        str(tmp_path / "api.svg"),
    ]
    answer = CliRunner().invoke(bench, ["api", *sizes, "--output", "json"])
    assert answer.exit_code == 0, answer.output
    results = json.loads(answer.stdout)
    assert [one["name"] for one in results] == [one.name for one in MEASURES]
    assert all(one["ours"] > 0 for one in results if not one["name"].endswith("memory"))
    assert (tmp_path / "api.svg").read_text().startswith("<svg")
