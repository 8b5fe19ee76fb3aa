"""The kinds of faults, and a short run with some of them."""

import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from chaos.command import chaos
from chaos.faults import FAULTS
from chaos.faults.links import LINK_FAULTS, Links
from chaos.history import load_history
from chaos.runner import Options, run
from chaos.target import PILOTHOUSE, Target
from chaos.workloads import WORKLOADS

FIVE = ["m1", "m2", "m3", "m4", "m5"]


def test_there_are_at_least_36_kinds_and_each_says_what_it_does() -> None:
    assert len(FAULTS) >= 36
    assert all(fault.summary for fault in FAULTS.values())


@pytest.mark.parametrize(
    "fault", [fault for fault in LINK_FAULTS if issubclass(fault, Links)], ids=lambda one: str(one.name)
)
@pytest.mark.parametrize("count", [3, 5])
def test_every_shape_of_a_partition_hurts_something_and_no_member_speaks_to_itself(
    fault: type[Links], count: int
) -> None:
    for seed in range(20):
        directions = list(fault.shape(FIVE[:count], "m2", Random(seed)))
        assert directions
        assert len(set(directions)) == len(directions)
        assert all(source != destination for source, destination in directions)


def test_a_bridge_leaves_a_majority_to_one_member_and_a_ring_to_all_of_five() -> None:
    for seed in range(20):
        for name, members in (("partition-bridge", 1), ("partition-ring", 5)):
            fault = FAULTS[name]
            assert issubclass(fault, Links)
            cut = set(fault.shape(FIVE, "m1", Random(seed)))
            hears = {
                one: {other for other in FIVE if (other, one) not in cut and (one, other) not in cut} for one in FIVE
            }
            assert sum(len(heard) >= 3 for heard in hears.values()) >= members
            assert len({frozenset(heard) for heard in hears.values()}) > 1


def test_an_unknown_fault_is_a_bad_option_that_names_those_there_are() -> None:
    result = CliRunner().invoke(chaos, ["run", "--faults", "earthquake"])
    assert result.exit_code == 2
    assert "no such fault: earthquake" in result.output
    assert "kill-leader" in result.output


def test_the_list_tells_each_fault_and_workload() -> None:
    result = CliRunner().invoke(chaos, ["list"])
    assert result.exit_code == 0
    assert all(name in result.output for name in (*FAULTS, *WORKLOADS))


@pytest.mark.e2e
async def test_all_workloads_under_overlapping_faults_keep_every_promise(tmp_path: Path) -> None:
    names = ("kill-leader", "partition-one", "compact", "link-delay")
    features = frozenset().union(*(FAULTS[name].needs for name in names))
    workloads = tuple(name for name in WORKLOADS if name != "lease")  # whose leases must all end, which takes long
    options = Options(names, workloads, 6, 1, 3, fault_seconds=(0.3, 1), calm_seconds=(0.1, 0.5))
    target = Target(
        tmp_path, PILOTHOUSE, 3, features, Random(3), **{"heartbeat-interval": "50", "election-timeout": "500"}
    )
    try:
        await target.up()
        report = await run(target, options, print)
    finally:
        await target.down()
    assert report.verdicts.is_safe, report.verdicts.safety
    assert not report.ended
    assert sum(report.effects.values()) > 0
    assert report.history.holds
    assert report.history.streams


@pytest.mark.e2e
def test_a_run_from_the_command_line_keeps_a_history_that_can_be_checked_again(tmp_path: Path) -> None:
    file = tmp_path / "history.jsonl"
    arguments = ["--faults", "pause", "--minutes", "0.05", "--seed", "1", "-o", "json", "--history", str(file)]
    result = CliRunner().invoke(chaos, ["run", *arguments])
    assert result.exit_code == 0, result.output
    document = json.loads(result.stdout)
    assert document["safe"]
    assert document["operations"]["ok"] == sum(one.outcome == "ok" for one in load_history(file).all_transactions())
    assert CliRunner().invoke(chaos, ["check", str(file)]).exit_code == 0
