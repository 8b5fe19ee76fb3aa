"""`kube-controller-manager`'s flags, as far as we have what they turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from controlplane.controllers import CONTROLLERS, ControllerManagerConfig, run
from controlplane.controllers.config import default_concurrency
from controlplane.machinery.command import (
    VERBOSITY,
    Duration,
    election_fields,
    election_options,
    run_until_signalled,
)
from controlplane.machinery.config import ClientConfig, ConfigError

__all__ = ["controller_manager"]

_CONCURRENCY = {
    "deployment": "deployment-controller",
    "replicaset": "replicaset-controller",
    "rc": "replicationcontroller-controller",
    "job": "job-controller",
    "cron-job": "cronjob-controller",
    "daemonset": "daemonset-controller",
    "statefulset": "statefulset-controller",
    "endpoint": "endpoints-controller",
    "service-endpoint": "endpointslice-controller",
    "namespace": "namespace-controller",
    "serviceaccount-token": "serviceaccount-token-controller",
    "gc": "garbage-collector-controller",
    "horizontal-pod-autoscaler": "horizontal-pod-autoscaler-controller",
    "ttl-after-finished": "ttl-after-finished-controller",
}


def _concurrency_flags(function: Any) -> Any:
    for flag, controller in _CONCURRENCY.items():
        option = click.option(
            f"--concurrent-{flag}-syncs",
            f"concurrent_{flag.replace('-', '_')}",
            type=click.IntRange(min=1),
            default=default_concurrency(controller),
            show_default=True,
            help=f"Keys of the {controller} worked on side by side.",
        )
        function = option(function)
    return function


@click.command("controller-manager", context_settings={"show_default": True})
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False), required=True, help="How to reach the API.")
@click.option(
    "--controllers", default="*", help=f"Comma list; '*' all, 'x' one, '-x' not. All: {', '.join(CONTROLLERS)}"
)
@election_options("kube-controller-manager")
@click.option(
    "--node-monitor-grace-period", type=Duration(), default="50s", help="A node silent for this long is Unknown."
)
@click.option("--node-monitor-period", type=Duration(), default="5s", help="Ignored: nothing here polls.")
@click.option(
    "--node-startup-grace-period", type=Duration(), default="1m", help="The same for a node that never reported."
)
@click.option(
    "--service-account-private-key-file",
    type=click.Path(exists=True),
    default=None,
    help="Ignored: the API server signs.",
)
@click.option(
    "--root-ca-file", type=click.Path(exists=True), default=None, help="Published as ConfigMap kube-root-ca.crt."
)
@click.option(
    "--cluster-signing-cert-file", type=click.Path(exists=True), default=None, help="Signs certificate requests."
)
@click.option("--cluster-signing-key-file", type=click.Path(exists=True), default=None)
@click.option(
    "--approve-kubelet-serving/--no-approve-kubelet-serving",
    default=False,
    help="Approve serving certificates of nodes for the addresses that they report.",
)
@click.option("--cluster-signing-duration", type=Duration(), default="8760h", help="The longest life of a certificate.")
@click.option("--terminated-pod-gc-threshold", default=12500, help="Finished pods that may be kept; 0: all.")
@click.option("--horizontal-pod-autoscaler-sync-period", type=Duration(), default="15s")
@click.option("--horizontal-pod-autoscaler-tolerance", default=0.1)
@click.option("--horizontal-pod-autoscaler-downscale-stabilization", type=Duration(), default="5m")
@click.option("--horizontal-pod-autoscaler-cpu-initialization-period", type=Duration(), default="5m")
@click.option("--horizontal-pod-autoscaler-initial-readiness-delay", type=Duration(), default="30s")
@VERBOSITY
@_concurrency_flags
def controller_manager(verbosity: int, **flags: Any) -> None:
    """Run the controllers: they bring the cluster's state to what the objects ask for."""
    try:
        config = config_from_flags(flags)
    except (ConfigError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    run_until_signalled("controlplane.controllers", verbosity, lambda stop, ready: run(config, stop=stop, ready=ready))


def config_from_flags(flags: dict[str, Any]) -> ControllerManagerConfig:
    """The configuration that the flags (by parameter name) mean."""
    concurrency = {name: flags[f"concurrent_{flag.replace('-', '_')}"] for flag, name in _CONCURRENCY.items()}
    return ControllerManagerConfig(
        client=ClientConfig.from_kubeconfig(Path(flags["kubeconfig"]), user_agent="kube-controller-manager"),
        controllers=tuple(entry.strip() for entry in flags["controllers"].split(",") if entry.strip()),
        concurrency=concurrency,
        **election_fields(flags),
        node_monitor_grace_period_seconds=flags["node_monitor_grace_period"],
        node_startup_grace_period_seconds=flags["node_startup_grace_period"],
        service_account_private_key_file=flags["service_account_private_key_file"] or "",
        root_ca_file=flags["root_ca_file"] or "",
        cluster_signing_cert_file=flags["cluster_signing_cert_file"] or "",
        approve_kubelet_serving=bool(flags["approve_kubelet_serving"]),
        cluster_signing_key_file=flags["cluster_signing_key_file"] or "",
        cluster_signing_duration_seconds=flags["cluster_signing_duration"],
        terminated_pod_gc_threshold=flags["terminated_pod_gc_threshold"],
        hpa_sync_period_seconds=flags["horizontal_pod_autoscaler_sync_period"],
        hpa_tolerance=flags["horizontal_pod_autoscaler_tolerance"],
        hpa_downscale_stabilization_seconds=flags["horizontal_pod_autoscaler_downscale_stabilization"],
        hpa_cpu_initialization_period_seconds=flags["horizontal_pod_autoscaler_cpu_initialization_period"],
        hpa_initial_readiness_delay_seconds=flags["horizontal_pod_autoscaler_initial_readiness_delay"],
    )
