"""Leaders and whole clusters killed under load: every operation is checked against what the store kept."""

from pathlib import Path
from random import Random

import pytest

from chaos.history import Outcome
from chaos.runner import Options, Report, run
from chaos.target import PILOTHOUSE, Target

RECOVERY_SECONDS = 10.0


async def hurt(folder: Path, fault: str, seconds: float, seed: int) -> Report:
    options = Options(
        (fault,), ("register",), seconds, 8, seed, overlap=1, fault_seconds=(0.5, 1.5), calm_seconds=(0.5, 1.0)
    )
    target = Target(folder, PILOTHOUSE, 3, frozenset(), Random(seed))
    try:
        await target.up()
        return await run(target, options, print)
    finally:
        await target.down()


def assert_kept(report: Report, fault: str) -> None:
    assert report.verdicts.is_safe, report.verdicts.safety
    assert report.injected[fault] == report.effects[fault] > 0
    assert report.count(Outcome.OK) > 100
    assert max(report.recoveries) < RECOVERY_SECONDS


@pytest.mark.e2e
@pytest.mark.parametrize("fault", ["kill-leader", "kill-all"])
async def test_members_killed_under_load_lose_nothing(tmp_path: Path, fault: str) -> None:
    assert_kept(await hurt(tmp_path, fault, 8, 11), fault)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fault", ["kill-leader", "kill-all"])
async def test_members_killed_for_long_lose_nothing(tmp_path: Path, fault: str, seed: int) -> None:
    assert_kept(await hurt(tmp_path, fault, 60, seed), fault)
