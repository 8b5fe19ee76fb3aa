"""What the load balancer and the service proxy need to know; the flags of `command.py` fill it."""

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class LoadBalancerConfig:
    """`backends` are (host, port); probed by GET /readyz over TLS, without `certificate_authority` by a TCP connect alone.

    `patience_seconds` is how long a client is held while no backend answers at all.
    """

    host: str
    port: int
    backends: tuple[tuple[str, int], ...]
    certificate_authority: Path | None = None
    probe_interval_seconds: float = 5.0
    probe_timeout_seconds: float = 2.0
    patience_seconds: float = 5.0


@dataclass(frozen=True, slots=True)
class ProxyConfig:
    """`node_addresses` are the addresses of this node on which NodePorts listen."""

    kubeconfig: Path
    node_name: str
    node_addresses: tuple[str, ...] = ()
    seed: int | None = None
