"""Each component's configuration, from the plan of the cluster and its data directory."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from controlplane.launcher.plan import KUBELET_PORT, LOOPBACK, AnyPlan, Component, Plan
from controlplane.launcher.state import DataDirectory, LauncherError, start_time_of

if TYPE_CHECKING:
    from controlplane.apiserver import ApiServerConfig
    from controlplane.cloud import CloudConfig
    from controlplane.controllers import ControllerManagerConfig
    from controlplane.kubelet import KubeletConfig
    from controlplane.network import LoadBalancerConfig, ProxyConfig
    from controlplane.scheduler import SchedulerConfig
    from kvstore.member.config import MemberConfig

# Elections move within five seconds of a leader's death, and a dead node is noticed soon; upstream's defaults are for networks.
LEASE_DURATION_SECONDS = 3.0
RENEW_DEADLINE_SECONDS = 2.0
RETRY_PERIOD_SECONDS = 0.5
NODE_LEASE_SECONDS = 8
NODE_MONITOR_GRACE_SECONDS = 10.0
NODE_MONITOR_PERIOD_SECONDS = 1.0
NOT_READY_TOLERATION_SECONDS = 5
MASTER_LEASE_SECONDS = 6  # so long a dead master stays in the endpoints of default/kubernetes
CLUSTER_NAME = "pilothouse"


def member(directory: DataDirectory, plan: AnyPlan, component: Component) -> "MemberConfig":
    from kvstore.member.config import MemberConfig

    url = plan.store_url
    client_url, peer_url = url(plan.client_port(component.index)), url(plan.peer_port(component.index))
    files = store_files(directory, "member") if isinstance(plan, Plan) and plan.store_tls else None
    return MemberConfig(
        name=component.name,
        data_dir=directory.path / "kv" / component.name,
        listen_client_urls=(client_url,),
        advertise_client_urls=(client_url,),
        listen_peer_urls=(peer_url,),
        initial_advertise_peer_urls=(peer_url,),
        initial_cluster=tuple((f"kv-{index}", url(plan.peer_port(index))) for index in range(plan.member_count)),
        **(_member_tls(files) if files is not None else {}),
    )


@dataclass(frozen=True, slots=True)
class StoreFiles:
    """One party's certificate of the store's own authority, which signs nobody else: no node's certificate opens it."""

    authority: Path
    certificate: Path
    key: Path


def store_files(directory: DataDirectory, party: str) -> StoreFiles:
    folder = directory.pki / "etcd"
    return StoreFiles(folder / "ca.crt", folder / f"{party}.crt", folder / f"{party}.key")


def _member_tls(files: StoreFiles) -> "dict[str, Any]":
    """Clients and peers alike must show a certificate."""
    given: dict[str, Any] = {}
    for prefix in ("", "peer_"):
        given[f"{prefix}cert_file"] = str(files.certificate)
        given[f"{prefix}key_file"] = str(files.key)
        given[f"{prefix}trusted_ca_file"] = str(files.authority)
        given[f"{prefix}client_cert_auth"] = True
    return given


def loadbalancer(directory: DataDirectory, plan: Plan, component: Component) -> "LoadBalancerConfig":
    from controlplane.network import LoadBalancerConfig

    return LoadBalancerConfig(
        host=component.host,
        port=component.port,
        backends=tuple((LOOPBACK, plan.master_port(index)) for index in range(plan.masters)),
        certificate_authority=directory.pki / "ca.crt",
    )


def apiserver(directory: DataDirectory, plan: Plan, component: Component) -> "ApiServerConfig":
    from controlplane.apiserver import ApiServerConfig

    pki = directory.pki
    store = store_files(directory, "apiserver") if plan.store_tls and not plan.etcd_endpoints else None
    return ApiServerConfig(
        tls_cert_file=pki / "apiserver.crt",
        tls_private_key_file=pki / "apiserver.key",
        client_ca_file=pki / "ca.crt",
        bind_address=component.host,
        secure_port=component.port,
        encryption_provider_config=pki / "encryption.yaml",
        etcd_servers=rotated(plan.store_endpoints, component.index),
        etcd_cafile=store.authority if store is not None else None,
        etcd_certfile=store.certificate if store is not None else None,
        etcd_keyfile=store.key if store is not None else None,
        service_account_key_files=(pki / "sa.pub",),
        service_account_signing_key_file=pki / "sa.key",
        service_cluster_ip_range=plan.service_range,
        kubelet_client_certificate=pki / "apiserver-kubelet-client.crt",
        kubelet_client_key=pki / "apiserver-kubelet-client.key",
        kubelet_certificate_authority=pki / "ca.crt",
        kubelet_port=KUBELET_PORT,
        proxy_client_cert_file=pki / "front-proxy-client.crt",
        proxy_client_key_file=pki / "front-proxy-client.key",
        requestheader_client_ca_file=pki / "front-proxy-ca.crt",
        requestheader_allowed_names=("front-proxy-client",),
        default_not_ready_toleration_seconds=NOT_READY_TOLERATION_SECONDS,
        default_unreachable_toleration_seconds=NOT_READY_TOLERATION_SECONDS,
        master_lease_ttl_seconds=MASTER_LEASE_SECONDS,
    )


def rotated(endpoints: tuple[str, ...], index: int) -> tuple[str, ...]:
    """Each master prefers the member of its own number."""
    return endpoints[index:] + endpoints[:index]


def scheduler(directory: DataDirectory, component: Component) -> "SchedulerConfig":
    from controlplane.scheduler import SchedulerConfig

    return SchedulerConfig(
        kubeconfig=directory.kubeconfig(f"{component.name}-kube-scheduler"),
        identity=identity(component),
        leader_elect_lease_duration_seconds=LEASE_DURATION_SECONDS,
        leader_elect_renew_deadline_seconds=RENEW_DEADLINE_SECONDS,
        leader_elect_retry_period_seconds=RETRY_PERIOD_SECONDS,
    )


def controllers(directory: DataDirectory, component: Component) -> "ControllerManagerConfig":
    from controlplane.controllers import ControllerManagerConfig
    from controlplane.machinery.config import ClientConfig

    kubeconfig = directory.kubeconfig(f"{component.name}-kube-controller-manager")
    return ControllerManagerConfig(
        client=ClientConfig.from_kubeconfig(kubeconfig, user_agent="kube-controller-manager"),
        identity=identity(component),
        leader_elect_lease_duration_seconds=LEASE_DURATION_SECONDS,
        leader_elect_renew_deadline_seconds=RENEW_DEADLINE_SECONDS,
        leader_elect_retry_period_seconds=RETRY_PERIOD_SECONDS,
        node_monitor_grace_period_seconds=NODE_MONITOR_GRACE_SECONDS,
        approve_kubelet_serving=True,
        service_account_private_key_file=str(directory.pki / "sa.key"),
        root_ca_file=str(directory.pki / "ca.crt"),
        cluster_signing_cert_file=str(directory.pki / "ca.crt"),
        cluster_signing_key_file=str(directory.pki / "ca.key"),
    )


def cloud(directory: DataDirectory, plan: Plan, component: Component) -> "CloudConfig":
    from controlplane.cloud import CloudConfig

    document = {
        "cluster": CLUSTER_NAME,
        "instances": str(directory.instances),
        "loadBalancerRange": plan.load_balancer_range,
    }
    path = directory.path / "cloud.json"
    directory.write_json(path, document)
    return CloudConfig(
        kubeconfig=directory.kubeconfig(f"{component.name}-cloud-controller-manager"),
        identity=identity(component),
        cloud_config=path,
        leader_elect_lease_duration_seconds=LEASE_DURATION_SECONDS,
        leader_elect_renew_deadline_seconds=RENEW_DEADLINE_SECONDS,
        leader_elect_retry_period_seconds=RETRY_PERIOD_SECONDS,
        node_monitor_period_seconds=NODE_MONITOR_PERIOD_SECONDS,
    )


def identity(component: Component) -> str:
    """Name this process in elections; a restarted one is another candidate."""
    return f"{component.name}_{os.getpid()}"


def write_instance(directory: DataDirectory, plan: Plan, component: Component) -> None:
    """Tell the `local` cloud provider that this machine runs, and in which process."""
    pid = os.getpid()
    document = {
        "name": component.name,
        "pid": pid,
        "start_time": start_time_of(pid),
        "zone": plan.zone(component.index),
        "address": component.host,
    }
    directory.write_json(directory.instances / f"{component.name}.json", document)


def kubelet(directory: DataDirectory, plan: Plan, component: Component) -> "KubeletConfig":
    from controlplane.kubelet import KubeletConfig

    return KubeletConfig(
        kubeconfig=str(directory.kubeconfig(component.name)),
        node_name=component.name,
        node_ip=component.host,
        port=KUBELET_PORT,
        root_dir=str(directory.path / "nodes" / component.name),
        tls_cert_file=str(directory.pki / f"{component.name}.crt"),
        tls_private_key_file=str(directory.pki / f"{component.name}.key"),
        server_tls_bootstrap=True,
        client_ca_file=str(directory.pki / "ca.crt"),
        node_lease_duration_seconds=NODE_LEASE_SECONDS,
        pod_cidr=plan.pod_range(component.index),
        cloud_provider="external",
        image_map=image_map(directory),
        cluster=str(directory.path),
    )


def image_map(directory: DataDirectory) -> str:
    """Return the user's file of images (image: command) where there is one."""
    path = directory.path / "images.yaml"
    return str(path) if path.exists() else ""


def simulated(directory: DataDirectory, plan: Plan) -> "list[KubeletConfig]":
    from controlplane.kubelet import KubeletConfig

    if plan.simulated_nodes < 1:
        raise LauncherError("--simulated-nodes must be at least 1 here")
    # Beside real nodes they are tainted, so that a program never lands where nothing runs it.
    taint = {"key": "pilothouse.io/simulated", "value": "true", "effect": "NoSchedule"}
    taints = (taint,) if plan.nodes else ()
    return [
        KubeletConfig(
            kubeconfig=str(directory.kubeconfig("simulated-nodes")),
            node_name=f"simulated-{index}",
            root_dir=str(directory.path / "nodes" / f"simulated-{index}"),
            container_runtime="simulated",
            node_lease_duration_seconds=40,
            node_labels={"pilothouse.io/simulated": "true"},
            register_with_taints=taints,
        )
        for index in range(plan.simulated_nodes)
    ]


def proxy(directory: DataDirectory, plan: Plan, component: Component) -> "ProxyConfig":
    from controlplane.network import ProxyConfig

    return ProxyConfig(
        kubeconfig=directory.kubeconfig("kube-proxy"),
        node_name=component.name,
        node_addresses=(component.host,),
    )
