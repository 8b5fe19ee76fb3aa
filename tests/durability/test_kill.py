"""Leaders and whole clusters killed under load: every operation is checked against what the store kept."""

import asyncio
import socket
from pathlib import Path

import pytest

from chaos.history import Outcome
from chaos.runner import Options, Report, run
from chaos.target import Target
from controlplane.launcher.plan import StorePlan
from controlplane.launcher.start import bring_down, bring_up
from controlplane.launcher.state import DataDirectory

RECOVERY_SECONDS = 10.0


def free_base_port() -> int:
    """A port from which on six are free, as the plan of a store wants them."""
    for base in range(23_000, 32_000, 100):
        try:
            for port in (base + 10 * number + offset for number in range(3) for offset in (0, 1)):
                with socket.socket() as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return base
    raise AssertionError("no free ports")


async def hurt(folder: Path, fault: str, seconds: float, seed: int) -> Report:
    directory, plan = DataDirectory(folder / "store"), StorePlan(members=3, base_port=free_base_port())
    options = Options((fault,), "register", seconds, 8, seed, fault_seconds=(0.5, 1.5), calm_seconds=(0.5, 1.0))
    await asyncio.to_thread(bring_up, directory, plan, foreground=False, restart=False, after=lambda: None)
    try:
        return await run(Target(directory, plan), options, print)
    finally:
        await asyncio.to_thread(bring_down, directory)


def assert_kept(report: Report, fault: str) -> None:
    assert report.is_safe, report.violations
    assert report.injected[fault] > 0
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
