"""KubeletConfig: everything a node agent is told, complete at birth."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from controlplane.kubelet.model import Policy
from controlplane.objects.quantity import Quantity

KUBELET_VERSION = "v1.37.0+pilothouse"
RUNTIMES = ("process", "simulated")


class ConfigurationError(ValueError):
    """This configuration cannot be served; the message says what to change."""


@dataclass(frozen=True, slots=True)
class KubeletConfig:
    """One node. Durations in seconds. Empty file names mean: none."""

    kubeconfig: str
    node_name: str
    bootstrap_kubeconfig: str = ""  # with it the kubeconfig is made at the first start, by a certificate request
    cert_dir: str = ""  # of the certificate so obtained; "" is `pki` below root_dir
    rotate_certificates: bool = True
    node_ip: str = "127.0.0.1"
    address: str = ""  # where to listen; "" is node_ip
    port: int = 10250  # 0: any free one
    root_dir: str = "kubelet"
    tls_cert_file: str = ""  # without it nothing is served: no logs, no metrics
    tls_private_key_file: str = ""
    server_tls_bootstrap: bool = False  # ask for serving certificates; the files above serve until the first is due
    client_ca_file: str = ""
    node_labels: Mapping[str, str] = field(default_factory=dict)
    register_with_taints: tuple[Mapping[str, str], ...] = ()
    node_status_update_frequency_seconds: float = 10.0
    node_status_report_frequency_seconds: float = 300.0
    node_lease_duration_seconds: int = 40  # renewed four times in that time
    max_pods: int = 110
    pod_cidr: str = ""
    cloud_provider: str = ""  # "external": the node starts tainted until the cloud controller manager has seen it
    container_runtime: str = "process"
    image_map: str = ""
    capacity: Mapping[str, Quantity] = field(default_factory=dict)  # wins over what the machine has
    container_path: str = ""  # PATH of containers that set none; "" is the agent's own
    cluster: str = ""  # told to every process as PILOTHOUSE_CLUSTER, so that a launcher finds its own
    shutdown_grace_seconds: float = 5.0
    policy: Policy = field(default_factory=Policy)
    seed: int | None = None  # of the random generator; None: from the operating system

    @property
    def serves(self) -> bool:
        """Whether there is an endpoint."""
        return bool(self.tls_cert_file) or self.server_tls_bootstrap

    def check(self) -> None:
        """Raise ConfigurationError for what cannot be served."""
        if self.container_runtime not in RUNTIMES:
            raise ConfigurationError(
                f"--container-runtime {self.container_runtime}: this kubelet has {', '.join(RUNTIMES)}"
            )
        if bool(self.tls_cert_file) != bool(self.tls_private_key_file):
            raise ConfigurationError("--tls-cert-file and --tls-private-key-file go together")
        if self.serves and not self.client_ca_file:
            raise ConfigurationError("--client-ca-file is needed to know who may ask: without it nobody could")
        if self.cloud_provider not in ("", "external"):
            raise ConfigurationError(f"--cloud-provider {self.cloud_provider}: only external is known")
