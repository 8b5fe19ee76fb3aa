"""kube-scheduler's flags, as a user types them."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from controlplane.scheduler import command
from controlplane.scheduler.config import SchedulerConfig


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> list[SchedulerConfig]:
    """The configurations that a command would have run with."""
    configs: list[SchedulerConfig] = []

    async def run(config: SchedulerConfig, **_: object) -> None:
        configs.append(config)

    monkeypatch.setattr(command, "run", run)
    return configs


def invoke(tmp_path: Path, *arguments: str) -> tuple[int, str]:
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{}")
    result = CliRunner().invoke(command.scheduler, ["--kubeconfig", str(kubeconfig), *arguments])
    return result.exit_code, result.output


def test_flags_fill_the_configuration(tmp_path: Path, started: list[SchedulerConfig]) -> None:
    flags = ["--leader-elect=false", "--leader-elect-lease-duration=1m30s", "--leader-elect-retry-period", "500ms"]
    assert invoke(tmp_path, *flags, "--identity=me") == (0, "")
    (config,) = started
    assert not config.leader_elect and config.identity == "me"
    assert config.leader_elect_lease_duration_seconds == 90.0
    assert config.leader_elect_retry_period_seconds == 0.5


def test_leader_elect_alone_means_true_and_the_identity_is_made_up(
    tmp_path: Path, started: list[SchedulerConfig]
) -> None:
    assert invoke(tmp_path, "--leader-elect")[0] == 0
    assert started[0].leader_elect and started[0].identity


@pytest.mark.parametrize("text", ["15", "s", "1x", "1s2", ""])
def test_what_is_no_duration_is_refused_in_one_line(tmp_path: Path, started: list[SchedulerConfig], text: str) -> None:
    code, output = invoke(tmp_path, f"--leader-elect-lease-duration={text}")
    assert code == 2 and "is not a duration such as 15s" in output
    assert not started
