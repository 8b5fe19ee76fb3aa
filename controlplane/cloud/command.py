"""`pilothouse cloud-controller-manager`: alone, in the foreground, with cloud-controller-manager's flag names."""

import asyncio
import logging
import re
import secrets
import signal
import socket
from datetime import timedelta
from pathlib import Path

import click

from controlplane.cloud import CloudConfig, run
from controlplane.cloud.providers import PROVIDERS


class Duration(click.ParamType[float]):
    """A duration as in Kubernetes' flags (15s, 500ms, 1m30s), as seconds."""

    name = "duration"
    _units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
    _part = re.compile(r"(\d+(?:\.\d+)?)(ms|us|h|m|s)")

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; a number is taken as it is."""
        if isinstance(value, int | float):
            return float(value)
        text = str(value)
        parts = self._part.findall(text)
        if not parts or "".join(number + unit for number, unit in parts) != text:
            self.fail(f"{text!r} is not a duration such as 15s, 500ms or 1m30s", param, ctx)
        return timedelta(seconds=sum(float(number) * self._units[unit] for number, unit in parts)).total_seconds()


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--cloud-provider", type=click.Choice(sorted(PROVIDERS)), default="local", show_default=True)
@click.option(
    "--cloud-config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="The provider's own configuration, YAML or JSON.",
)
@click.option("--node-monitor-period", type=Duration(), default="5s", show_default=True)
@click.option("--concurrent-service-syncs", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--leader-elect",
    type=bool,
    is_flag=False,
    flag_value=True,
    default=True,
    show_default=True,
    help="Work only while holding the Lease.",
)
@click.option("--leader-elect-lease-duration", type=Duration(), default="15s", show_default=True)
@click.option("--leader-elect-renew-deadline", type=Duration(), default="10s", show_default=True)
@click.option("--leader-elect-retry-period", type=Duration(), default="2s", show_default=True)
@click.option("--leader-elect-resource-name", default="cloud-controller-manager", show_default=True)
@click.option("--leader-elect-resource-namespace", default="kube-system", show_default=True)
@click.option(
    "--identity", default="", help="This candidate's name in the Lease.  [default: the host's name and a random part]"
)
@click.option("-v", "--v", "verbosity", type=int, default=0, help="0: information; 4 and more: debugging.")
def cloud_controller_manager(
    kubeconfig: Path,
    cloud_provider: str,
    cloud_config: Path,
    node_monitor_period: float,
    concurrent_service_syncs: int,
    leader_elect: bool,
    leader_elect_lease_duration: float,
    leader_elect_renew_deadline: float,
    leader_elect_retry_period: float,
    leader_elect_resource_name: str,
    leader_elect_resource_namespace: str,
    identity: str,
    verbosity: int,
) -> None:
    """Join nodes and Services to the cloud."""
    logging.basicConfig(
        level=logging.DEBUG if verbosity >= 4 else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )
    config = CloudConfig(
        kubeconfig=kubeconfig,
        cloud_provider=cloud_provider,
        cloud_config=cloud_config,
        node_monitor_period_seconds=node_monitor_period,
        concurrent_service_syncs=concurrent_service_syncs,
        identity=identity or f"{socket.gethostname()}_{secrets.token_hex(4)}",
        leader_elect=leader_elect,
        leader_elect_lease_duration_seconds=leader_elect_lease_duration,
        leader_elect_renew_deadline_seconds=leader_elect_renew_deadline,
        leader_elect_retry_period_seconds=leader_elect_retry_period,
        leader_elect_resource_name=leader_elect_resource_name,
        leader_elect_resource_namespace=leader_elect_resource_namespace,
    )
    try:
        with asyncio.Runner(loop_factory=_loop) as runner:
            runner.run(_until_signalled(config))
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


async def _until_signalled(config: CloudConfig) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    await run(config, stop=stop, ready=lambda: logging.getLogger("controlplane.cloud").info("taking part"))


def _loop() -> asyncio.AbstractEventLoop:
    """uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
