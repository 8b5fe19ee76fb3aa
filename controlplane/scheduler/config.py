"""What a scheduler needs to know; the flags of `command.py` fill it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class SchedulerConfig:
    """`identity` names this candidate in the Lease. Times in seconds. `seed` None: chance differs from run to run.

    `binds_in_flight`: no more than the client keeps connections open, else each further one costs a TLS handshake.
    """

    kubeconfig: Path
    identity: str
    leader_elect: bool = True
    leader_elect_lease_duration_seconds: float = 15.0
    leader_elect_renew_deadline_seconds: float = 10.0
    leader_elect_retry_period_seconds: float = 2.0
    leader_elect_resource_name: str = "kube-scheduler"
    leader_elect_resource_namespace: str = "kube-system"
    binds_in_flight: int = 24
    seed: int | None = None
