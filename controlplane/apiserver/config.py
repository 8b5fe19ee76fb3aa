"""What an API server is told: one frozen value, filled by `command.py` or by the launcher."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class ApiServerConfig:
    """Fields are the flags of kube-apiserver; paths are of PEM files.  Empty optional fields switch the feature off."""

    tls_cert_file: Path
    tls_private_key_file: Path
    client_ca_file: Path | None = None
    bind_address: str = "127.0.0.1"
    secure_port: int = 6443  # 0: any free port
    advertise_address: str = ""  # what `default/kubernetes` points to; empty: the bind address
    etcd_servers: tuple[str, ...] = ("127.0.0.1:2379",)
    etcd_cafile: Path | None = None
    etcd_certfile: Path | None = None
    etcd_keyfile: Path | None = None
    encryption_provider_config: Path | None = None  # EncryptionConfiguration: what is sealed in the store, and how
    encryption_provider_config_automatic_reload: bool = True
    service_account_issuer: str = "https://kubernetes.default.svc.cluster.local"
    service_account_key_files: tuple[Path, ...] = ()  # public keys (or private ones) that verify tokens
    service_account_signing_key_file: Path | None = None
    api_audiences: tuple[str, ...] = ()  # empty: the issuer
    service_account_max_token_expiration_seconds: int = 0  # 0: no limit
    service_cluster_ip_range: str = "127.0.128.0/18"
    service_node_port_range: tuple[int, int] = (30000, 32767)  # both ends included
    kubelet_client_certificate: Path | None = None
    kubelet_client_key: Path | None = None
    kubelet_certificate_authority: Path | None = None
    kubelet_port: int = 10250
    default_not_ready_toleration_seconds: int = 300
    default_unreachable_toleration_seconds: int = 300
    event_ttl_seconds: int = 3600
    shutdown_grace_seconds: float = 5.0
    min_request_timeout_seconds: int = 1800  # how long a watch without timeoutSeconds lives, at least
    etcd_compaction_interval_seconds: float = 300.0  # 0: never
    watch_bookmark_seconds: float = 60.0
    master_lease_ttl_seconds: int = 15

    @property
    def audiences(self) -> tuple[str, ...]:
        """What a token must be meant for."""
        return self.api_audiences or (self.service_account_issuer,)
