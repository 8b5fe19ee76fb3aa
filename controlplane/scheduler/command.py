"""`pilothouse scheduler`: the scheduler alone, in the foreground, with kube-scheduler's flag names."""

from pathlib import Path
from typing import Any

import click

from controlplane.machinery.command import VERBOSITY, election_fields, election_options, run_until_signalled
from controlplane.scheduler import SchedulerConfig, run


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@election_options("kube-scheduler")
@VERBOSITY
def scheduler(kubeconfig: Path, verbosity: int, **flags: Any) -> None:
    """Assign waiting pods to nodes."""
    config = SchedulerConfig(kubeconfig=kubeconfig, **election_fields(flags))
    run_until_signalled("controlplane.scheduler", verbosity, lambda stop, ready: run(config, stop=stop, ready=ready))
