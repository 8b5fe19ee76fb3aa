"""From a container in a manifest to a StartRequest: image, command, environment, mounts, all references resolved."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from controlplane.kubelet import environment
from controlplane.kubelet.addresses import PodAddresses
from controlplane.kubelet.config import KubeletConfig
from controlplane.kubelet.environment import Facts
from controlplane.kubelet.images import ImageMap
from controlplane.kubelet.model import Pod, Start
from controlplane.kubelet.podvolumes import PodVolumes
from controlplane.kubelet.resources import memory_limit_bytes
from controlplane.kubelet.runtimes.port import ContainerKey, Mount, Runtime, StartFailed, StartRequest
from controlplane.kubelet.sources import ObjectSource
from controlplane.kubelet.volumes import VolumeError, mounts_of
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.http import ConnectionLost
from controlplane.objects.quantity import Quantity
from controlplane.objects.status import ApiError

# Waiting reason of a container whose volumes are not there yet, as in Kubernetes: the trouble stands in an Event.
VOLUMES_REASON = "ContainerCreating"


@dataclass(frozen=True, slots=True)
class Shared:
    """What all pods of one node share."""

    config: KubeletConfig
    client: ApiClient
    runtime: Runtime
    clock: Clock
    random: Random
    recorder: EventRecorder
    sources: ObjectSource
    images: ImageMap
    addresses: PodAddresses
    allocatable: Mapping[str, Quantity]
    services_in: Callable[[str], Sequence[Mapping[str, Any]]]  # Services of a namespace, from the node's cache
    kubernetes_service: Callable[[], Mapping[str, Any] | None]
    root: Path

    def pod_directory(self, pod: Pod) -> Path:
        """Where everything of one pod is kept."""
        return self.root / "pods" / str(pod["metadata"]["uid"])


async def make_request(shared: Shared, pod: Pod, action: Start, volumes: PodVolumes, facts: Facts) -> StartRequest:
    """Raises StartFailed with the waiting reason that Kubernetes would show."""
    container = action.container
    if not shared.runtime.runs_programs:
        return _plain_request(pod, action)
    try:
        places = await volumes.ensure(pod, facts)
    except (VolumeError, OSError) as error:
        raise StartFailed(VOLUMES_REASON, str(error)) from error
    program = shared.images.resolve(
        container.get("image", ""), container.get("command") or (), container.get("args") or ()
    )
    variables = dict(program.environment)
    variables.update(await _variables(shared, pod, container, facts))
    variables["PILOTHOUSE_POD_IP"] = facts.pod_ip
    command = environment.expand_all((*program.command, *program.args), variables)
    mounts = mounts_of(container, places, variables)
    hosts = _write_hosts(shared.pod_directory(pod), pod, facts)
    if mounts and not any(mount.target == "/etc/hosts" for mount in mounts):
        mounts.append(Mount(str(hosts), "/etc/hosts"))
    user, group = _identity(pod, container)
    return StartRequest(
        key=ContainerKey(pod["metadata"]["uid"], container["name"]),
        attempt=action.attempt,
        namespace=pod["metadata"]["namespace"],
        pod_name=pod["metadata"]["name"],
        image=container.get("image", ""),
        command=command,
        environment=variables,
        working_directory=container.get("workingDir") or program.working_directory,
        mounts=tuple(mounts),
        hostname=_hostname(pod),
        user_id=user,
        group_id=group,
        memory_limit_bytes=memory_limit_bytes(container),
        stdin=bool(container.get("stdin")),
        stdin_once=bool(container.get("stdinOnce")),
        tty=bool(container.get("tty")),
    )


def _plain_request(pod: Pod, action: Start) -> StartRequest:
    meta = pod["metadata"]
    return StartRequest(
        key=ContainerKey(meta["uid"], action.container["name"]),
        attempt=action.attempt,
        namespace=meta["namespace"],
        pod_name=meta["name"],
        image=action.container.get("image", ""),
        command=tuple(action.container.get("command") or ("simulated",)),
        annotations=meta.get("annotations") or {},
    )


async def _variables(shared: Shared, pod: Pod, container: Mapping[str, Any], facts: Facts) -> dict[str, str]:
    namespace = pod["metadata"]["namespace"]
    services: list[Mapping[str, Any]] = []
    kubernetes = shared.kubernetes_service()
    if kubernetes is not None:
        services.append(kubernetes)
    if pod["spec"].get("enableServiceLinks") is not False:
        services.extend(s for s in shared.services_in(namespace) if s is not kubernetes)
    try:
        lookup = await shared.sources.read_all(namespace, set(environment.references(container)))
    except (ApiError, ConnectionLost, TimeoutError) as error:
        raise StartFailed("CreateContainerConfigError", f"reading configuration: {error or 'timed out'}") from error
    return environment.resolve(pod, container, services, lookup, facts)


def _hostname(pod: Pod) -> str:
    return str(pod["spec"].get("hostname") or pod["metadata"]["name"])[:63].rstrip("-.")


def _identity(pod: Pod, container: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """(user, group) to run as; None: as the agent."""
    whole, own = pod["spec"].get("securityContext") or {}, container.get("securityContext") or {}
    user = own.get("runAsUser", whole.get("runAsUser"))
    group = own.get("runAsGroup", whole.get("runAsGroup"))
    return user, group


def _write_hosts(directory: Path, pod: Pod, facts: Facts) -> Path:
    """The pod's /etc/hosts: itself, and its hostAliases."""
    lines = ["# Kubernetes-managed hosts file.", "127.0.0.1\tlocalhost", "::1\tlocalhost ip6-localhost ip6-loopback"]
    if facts.pod_ip:
        lines.append(f"{facts.pod_ip}\t{_hostname(pod)}")
    lines.extend(
        f"{alias['ip']}\t" + "\t".join(alias.get("hostnames") or ()) for alias in pod["spec"].get("hostAliases") or ()
    )
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / "etc-hosts"
    path.write_text("\n".join(lines) + "\n")
    return path
