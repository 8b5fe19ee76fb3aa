"""What the cloud controller manager needs to know; the flags of `command.py` fill it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """`cloud_config` is the provider's own file (YAML or JSON). `identity` names this candidate in the Lease. Seconds."""

    kubeconfig: Path
    identity: str
    cloud_config: Path
    cloud_provider: str = "local"
    leader_elect: bool = True
    leader_elect_lease_duration_seconds: float = 15.0
    leader_elect_renew_deadline_seconds: float = 10.0
    leader_elect_retry_period_seconds: float = 2.0
    leader_elect_resource_name: str = "cloud-controller-manager"
    leader_elect_resource_namespace: str = "kube-system"
    node_monitor_period_seconds: float = 5.0
    concurrent_service_syncs: int = 5
    seed: int | None = None
