"""`pilothouse bench kv`: what it refuses, what it prints, and a small run beside a real etcd."""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from xml.etree import ElementTree

import pytest
from click.testing import CliRunner

from controlplane.launcher.bench import hammer
from controlplane.launcher.bench.command import Result, bench, table, verdict
from controlplane.launcher.bench.measures import MEASURES, Measure
from controlplane.launcher.bench.numbers import shown
from controlplane.launcher.state import LauncherError


def result(measure: Measure, ratio: float) -> Result:
    return Result(
        measure.name, measure.text, 12345.6, 0.12345, ratio, measure.unit, measure.better, measure.must, measure.aim
    )


def test_a_measure_that_does_not_exist_is_refused_with_the_list_of_those_that_do() -> None:
    answer = CliRunner().invoke(bench, ["kv", "--measures", "put,nonsense"])
    assert answer.exit_code == 2
    assert "nonsense" in answer.output and "put-latency" in answer.output


def test_a_peer_that_is_not_there_is_one_plain_error() -> None:
    answer = CliRunner().invoke(bench, ["kv", "--peer", "no-such-etcd"])
    assert isinstance(answer.exception, LauncherError)
    assert "no no-such-etcd found" in str(answer.exception)


def test_the_table_shows_three_digits_that_mean_something() -> None:
    put = MEASURES[0]
    lines = table([result(put, 1.5)]).splitlines()
    assert [shown(12345.6), shown(0.12345)] == ["12,346", "0.123"]
    assert "12,346" in lines[1] and "1.50" in lines[1] and "higher is better" in lines[1]


@pytest.mark.parametrize(
    ("name", "ratio", "said"),
    [
        ("put", 3.1, "aim 3 reached"),
        ("put", 1.6, "must 1.5 reached, aim 3"),
        ("put", 1.4, "must 1.5 missed, aim 3"),
        ("put-latency", 0.6, "aim 0.7 reached"),
        ("put-latency", 0.9, "must 1 reached, aim 0.7"),
        ("put-latency", 1.1, "must 1 missed, aim 0.7"),
        ("put-cpu", 0.5, ""),
    ],
)
def test_each_ratio_is_held_against_its_goals(name: str, ratio: float, said: str) -> None:
    assert verdict(result(next(one for one in MEASURES if one.name == name), ratio)) == said


def test_the_picture_is_svg_with_a_bar_for_each_measure_and_longer_is_better(tmp_path: Path) -> None:
    results = [result(one, 2.0) for one in MEASURES]
    (tmp_path / "results.json").write_text(json.dumps([asdict(one) for one in results]))
    answer = CliRunner().invoke(bench, ["plot", str(tmp_path / "results.json"), str(tmp_path / "plot.svg")])
    assert answer.exit_code == 0, answer.output
    text = (tmp_path / "plot.svg").read_text()
    ElementTree.fromstring(text)
    assert all(one.text in text for one in MEASURES)
    assert (text.count(">2x</text>"), text.count(">0.5x</text>")) == tuple(
        [one.better for one in MEASURES].count(better) + 1 for better in ("higher", "lower")
    )


def test_what_is_no_result_is_not_drawn(tmp_path: Path) -> None:
    (tmp_path / "results.json").write_text('[{"name": "put"}]')
    answer = CliRunner().invoke(bench, ["plot", str(tmp_path / "results.json"), str(tmp_path / "plot.svg")])
    assert answer.exit_code == 2


def test_names_of_measures_are_unique() -> None:
    assert len({one.name for one in MEASURES}) == len(MEASURES)


async def test_what_h2load_reports_as_failed_is_an_error(tmp_path: Path) -> None:
    if shutil.which("h2load") is None:
        pytest.skip("h2load is not installed (Debian: nghttp2-client)")
    with pytest.raises(LauncherError, match="h2load"):
        await hammer.hammer("127.0.0.1:1", "KV/Put", b"", 8, 8, tmp_path)


@pytest.mark.e2e
@pytest.mark.skipif(shutil.which("etcd") is None, reason="etcd is not installed (Debian: etcd-server)")
def test_a_small_run_measures_both() -> None:
    sizes = ["--rounds", "1", "--requests", "800", "--keys", "800", "--watchers", "20"]
    answer = CliRunner().invoke(bench, ["kv", *sizes, "--output", "json"])
    assert answer.exit_code == 0, answer.output
    results = json.loads(answer.stdout)
    assert [one["name"] for one in results] == [one.name for one in MEASURES]
    assert all(one["ours"] > 0 and one["peer"] > 0 and one["ratio"] > 0 for one in results)
    assert "put 1/1 ours" in answer.stderr
