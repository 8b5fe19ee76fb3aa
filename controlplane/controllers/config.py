"""What the controller manager needs to know: complete at birth, filled by `command.py` or the launcher."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.machinery.config import ClientConfig

__all__ = ["ControllerManagerConfig"]


DEFAULT_CONCURRENCY = 5
# Those that wait most of their time for the API, one key for each object of a storm; Kubernetes' own defaults.
MORE_CONCURRENCY = {"garbage-collector-controller": 20, "namespace-controller": 10}


def default_concurrency(controller: str) -> int:
    """Keys of a controller that are worked on side by side when nobody says otherwise."""
    return MORE_CONCURRENCY.get(controller, DEFAULT_CONCURRENCY)


@dataclass(frozen=True, slots=True)
class ControllerManagerConfig:
    """Defaults are kube-controller-manager's; times are in seconds."""

    client: ClientConfig
    identity: str = ""  # in the election; made up when empty
    controllers: tuple[str, ...] = ("*",)  # "*", "name", "-name", as in --controllers
    concurrency: Mapping[str, int] = field(default_factory=dict)  # controller name -> keys worked on side by side
    leader_elect: bool = True
    leader_elect_lease_duration_seconds: float = 15.0
    leader_elect_renew_deadline_seconds: float = 10.0
    leader_elect_retry_period_seconds: float = 2.0
    leader_elect_resource_name: str = "kube-controller-manager"
    leader_elect_resource_namespace: str = "kube-system"
    node_monitor_grace_period_seconds: float = 50.0
    node_startup_grace_period_seconds: float = 60.0
    service_account_private_key_file: str = ""  # taken and not used: tokens are asked of the API server
    cluster_signing_cert_file: str = ""  # PEM: the authority of certificate requests; empty: nothing is signed
    cluster_signing_key_file: str = ""
    cluster_signing_duration_seconds: float = 365 * 86400.0
    approve_kubelet_serving: bool = False  # serving certificates of nodes for their own addresses
    root_ca_file: str = ""  # PEM; published as ConfigMap kube-root-ca.crt
    terminated_pod_gc_threshold: int = 12500
    hpa_sync_period_seconds: float = 15.0
    hpa_tolerance: float = 0.1
    hpa_downscale_stabilization_seconds: float = 300.0
    hpa_cpu_initialization_period_seconds: float = 300.0
    hpa_initial_readiness_delay_seconds: float = 30.0
