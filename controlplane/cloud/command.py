"""`pilothouse cloud-controller-manager`: alone, in the foreground, with cloud-controller-manager's flag names."""

from pathlib import Path
from typing import Any

import click

from controlplane.cloud import CloudConfig, run
from controlplane.cloud.providers import PROVIDERS
from controlplane.machinery.command import (
    VERBOSITY,
    Duration,
    election_fields,
    election_options,
    run_until_signalled,
)


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
@election_options("cloud-controller-manager")
@VERBOSITY
def cloud_controller_manager(node_monitor_period: float, verbosity: int, **flags: Any) -> None:
    """Join nodes and Services to the cloud."""
    elected = election_fields(flags)
    config = CloudConfig(node_monitor_period_seconds=node_monitor_period, **flags, **elected)
    run_until_signalled("controlplane.cloud", verbosity, lambda stop, ready: run(config, stop=stop, ready=ready))
