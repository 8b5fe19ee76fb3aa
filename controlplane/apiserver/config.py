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
    authorization_mode: tuple[str, ...] = ("Node", "RBAC")
    authorization_webhook_config_file: Path | None = None
    authorization_webhook_version: str = "v1"
    authorization_webhook_authorized_ttl_seconds: float = 300.0
    authorization_webhook_unauthorized_ttl_seconds: float = 30.0
    authentication_token_webhook_config_file: Path | None = None
    authentication_token_webhook_version: str = "v1"
    authentication_token_webhook_cache_ttl_seconds: float = 120.0
    token_auth_file: Path | None = None  # static tokens: token,user,uid,"group1,group2"
    enable_bootstrap_token_auth: bool = True
    anonymous_auth: bool = True  # for health and version alone; nothing else is ever open
    requestheader_client_ca_file: Path | None = None  # without it no X-Remote-* header is believed
    requestheader_allowed_names: tuple[str, ...] = ()  # empty: every certificate of that authority
    requestheader_username_headers: tuple[str, ...] = ("X-Remote-User",)
    requestheader_group_headers: tuple[str, ...] = ("X-Remote-Group",)
    requestheader_uid_headers: tuple[str, ...] = ()
    requestheader_extra_headers_prefix: tuple[str, ...] = ("X-Remote-Extra-",)
    oidc_issuer_url: str = ""
    oidc_client_id: str = ""
    oidc_ca_file: Path | None = None
    oidc_username_claim: str = "sub"
    oidc_username_prefix: str = ""  # empty: ISSUER# unless the claim is email; "-": none
    oidc_groups_claim: str = ""
    oidc_groups_prefix: str = ""
    oidc_required_claims: tuple[tuple[str, str], ...] = ()
    oidc_signing_algs: tuple[str, ...] = ("RS256",)
    enable_admission_plugins: tuple[str, ...] = ()  # besides those that are on by default
    disable_admission_plugins: tuple[str, ...] = ()
    admission_control_config_file: Path | None = None  # AdmissionConfiguration
    audit_policy_file: Path | None = None  # without it nothing is audited
    audit_log_path: str = ""  # "-": standard output
    audit_log_maxage_days: int = 0  # of rotated files; 0: no limit
    audit_log_maxbackup: int = 0
    audit_log_maxsize_mebibytes: int = 100
    audit_webhook_config_file: Path | None = None  # a kubeconfig
    audit_webhook_batch_max_size: int = 400  # events of a request
    audit_webhook_batch_max_wait_seconds: float = 30.0
    audit_webhook_batch_buffer_size: int = 10_000  # events that wait at most
    enable_priority_and_fairness: bool = True
    max_requests_inflight: int = 400  # together with the next: the seats that priority levels share
    max_mutating_requests_inflight: int = 200
    request_timeout_seconds: float = 60.0  # of everything but watches and streams
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
    proxy_client_cert_file: Path | None = None  # who this server is for aggregated API servers
    proxy_client_key_file: Path | None = None
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

    @property
    def admission_plugins(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """Names of plugins that are switched on and off."""
        return self.enable_admission_plugins, self.disable_admission_plugins
