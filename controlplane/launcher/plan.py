"""What runs where, on which port: pure values, made from the options of the first `up` and kept in cluster.json.

A cluster owns a second octet X of the loopback range, chosen by its base port, so that several clusters live on one machine:
    127.X.0.(i+1)     node i                127.X.(16+i).0/24   pods of node i
    127.X.128.0/18    ClusterIPs            127.X.200.0/24      addresses of load balancers
and ports from its base port B on 127.0.0.1:
    B  the load balancer before the API servers      B+10+i  API server i
    B+30+i  store member i, clients                  B+50+i  store member i, peers
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from controlplane.launcher.state import LauncherError

LOOPBACK = "127.0.0.1"
KUBELET_PORT = 10250
MAX_MASTERS = 9
MAX_NODES = 100
ZONES = ("local-a", "local-b", "local-c")


@dataclass(frozen=True, slots=True)
class Component:
    """One process of a cluster: its name, kind and number, and the address that it listens on first."""

    name: str
    kind: str  # kv | loadbalancer | master | node | simulated
    index: int
    host: str
    port: int

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole cluster on one machine."""

    masters: int = 3
    nodes: int = 3
    base_port: int = 6443
    simulated_nodes: int = 0
    etcd_endpoints: str = ""  # comma-separated; empty: members of our own
    store_tls: bool = True  # clusters that an older version made keep their members' plain addresses

    def __post_init__(self) -> None:
        if not 1 <= self.masters <= MAX_MASTERS:
            raise LauncherError(f"--masters must be 1 to {MAX_MASTERS}, not {self.masters}")
        if not 0 <= self.nodes <= MAX_NODES:
            raise LauncherError(f"--nodes must be 0 to {MAX_NODES}, not {self.nodes}")
        if not 1024 <= self.base_port <= 65000:
            raise LauncherError(f"--base-port must be 1024 to 65000, not {self.base_port}")

    @property
    def octet(self) -> int:
        return 64 + self.base_port % 128

    @property
    def server(self) -> str:
        """URL of the API through the load balancer: what the kubeconfig says."""
        return f"https://{LOOPBACK}:{self.base_port}"

    @property
    def service_range(self) -> str:
        return f"127.{self.octet}.128.0/18"

    @property
    def kubernetes_service(self) -> str:
        """The first ClusterIP: `default/kubernetes`."""
        return f"127.{self.octet}.128.1"

    @property
    def load_balancer_range(self) -> str:
        return f"127.{self.octet}.200.0/24"

    def node_address(self, index: int) -> str:
        return f"127.{self.octet}.0.{index + 1}"

    def pod_range(self, index: int) -> str:
        return f"127.{self.octet}.{16 + index}.0/24"

    def zone(self, index: int) -> str:
        return ZONES[index % len(ZONES)]

    def master_port(self, index: int) -> int:
        return self.base_port + 10 + index

    def client_port(self, index: int) -> int:
        return self.base_port + 30 + index

    def peer_port(self, index: int) -> int:
        return self.base_port + 50 + index

    @property
    def member_count(self) -> int:
        return self.masters

    @property
    def store_endpoints(self) -> tuple[str, ...]:
        if self.etcd_endpoints:
            return tuple(endpoint.strip() for endpoint in self.etcd_endpoints.split(","))
        return tuple(self.store_url(self.client_port(index)) for index in range(self.masters))

    def store_url(self, port: int) -> str:
        return f"{'https' if self.store_tls else 'http'}://{LOOPBACK}:{port}"

    def components(self) -> Iterator[Component]:
        """Yield every process in the order of starting."""
        for index in range(0 if self.etcd_endpoints else self.masters):
            yield Component(f"kv-{index}", "kv", index, LOOPBACK, self.client_port(index))
        yield Component("loadbalancer", "loadbalancer", 0, LOOPBACK, self.base_port)
        for index in range(self.masters):
            yield Component(f"master-{index}", "master", index, LOOPBACK, self.master_port(index))
        for index in range(self.nodes):
            yield Component(f"node-{index}", "node", index, self.node_address(index), KUBELET_PORT)
        if self.simulated_nodes:
            yield Component("simulated-nodes", "simulated", 0, LOOPBACK, 0)

    def addresses(self) -> Iterator[tuple[str, int]]:
        """Yield every (host, port) that must be free before the start."""
        for component in self.components():
            if component.port:
                yield component.host, component.port
            if component.kind == "kv":
                yield component.host, self.peer_port(component.index)

    def to_document(self) -> dict[str, Any]:
        return {"kind": "cluster", **asdict(self)}


@dataclass(frozen=True, slots=True)
class StorePlan:
    """The store alone: member i serves clients on B+10i and its peers on B+10i+1, as etcd's 2379 and 2380."""

    members: int = 3
    base_port: int = 2379

    def __post_init__(self) -> None:
        if not 1 <= self.members <= MAX_MASTERS:
            raise LauncherError(f"--members must be 1 to {MAX_MASTERS}, not {self.members}")
        if not 1024 <= self.base_port <= 65000:
            raise LauncherError(f"--base-port must be 1024 to 65000, not {self.base_port}")

    @property
    def member_count(self) -> int:
        return self.members

    def client_port(self, index: int) -> int:
        return self.base_port + 10 * index

    def peer_port(self, index: int) -> int:
        return self.base_port + 10 * index + 1

    @property
    def store_endpoints(self) -> tuple[str, ...]:
        return tuple(self.store_url(self.client_port(index)) for index in range(self.members))

    def store_url(self, port: int) -> str:
        return f"http://{LOOPBACK}:{port}"

    def components(self) -> Iterator[Component]:
        for index in range(self.members):
            yield Component(f"kv-{index}", "kv", index, LOOPBACK, self.client_port(index))

    def addresses(self) -> Iterator[tuple[str, int]]:
        for component in self.components():
            yield component.host, component.port
            yield component.host, self.peer_port(component.index)

    def to_document(self) -> dict[str, Any]:
        return {"kind": "store", **asdict(self)}


AnyPlan = Plan | StorePlan


def plan_from_document(document: dict[str, Any]) -> AnyPlan:
    """The inverse of `to_document`; raise LauncherError for a document that is not ours."""
    fields = dict(document)
    if fields.get("kind") == "cluster":
        fields.setdefault("store_tls", False)
    kinds: dict[str, type[Plan] | type[StorePlan]] = {"cluster": Plan, "store": StorePlan}
    made = kinds.get(fields.pop("kind", ""))
    if made is None:
        raise LauncherError("cluster.json is of another kind or version; `pilothouse reset` starts afresh")
    try:
        return made(**fields)
    except TypeError as error:
        raise LauncherError(
            f"cluster.json is of another version ({error}); `pilothouse reset` starts afresh"
        ) from error
