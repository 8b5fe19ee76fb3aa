"""`pilothouse kubelet`: the node agent alone, in the foreground, with kubelet's flag names."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from pathlib import Path

import click

from controlplane.kubelet import ConfigurationError, KubeletConfig, run, run_many
from controlplane.kubelet.model import Policy
from controlplane.kubelet.resources import parse_amounts
from controlplane.machinery.command import VERBOSITY, Duration, run_until_signalled
from controlplane.machinery.config import ConfigError
from controlplane.objects.quantity import Quantity

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


class Amounts(click.ParamType[dict[str, Quantity]]):
    """cpu=4,memory=8Gi,pods=110"""

    name = "amounts"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> dict[str, Quantity]:
        """Amounts by resource."""
        if isinstance(value, dict):
            return value
        try:
            return parse_amounts(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parse_labels(text: str) -> dict[str, str]:
    """`a=b,c=d`. click.BadParameter names the piece that is wrong."""
    labels = {}
    for piece in filter(None, text.split(",")):
        key, equals, value = piece.partition("=")
        if not key or not equals:
            raise click.BadParameter(f"{piece!r} is not KEY=VALUE", param_hint="--node-labels")
        labels[key.strip()] = value.strip()
    return labels


def parse_taints(text: str) -> tuple[dict[str, str], ...]:
    """`key=value:NoSchedule,other:NoExecute`. click.BadParameter names the piece that is wrong."""
    taints = []
    for piece in filter(None, text.split(",")):
        head, _, effect = piece.rpartition(":")
        key, _, value = head.partition("=")
        if not key or effect not in _EFFECTS:
            raise click.BadParameter(f"{piece!r} is not KEY[=VALUE]:EFFECT", param_hint="--register-with-taints")
        taints.append({"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect})
    return tuple(taints)


_FILE = click.Path(exists=True, dir_okay=False)


@click.command()
@click.option("--kubeconfig", type=click.Path(dir_okay=False), required=True)
@click.option(
    "--bootstrap-kubeconfig",
    type=_FILE,
    default=None,
    help="With a bootstrap token: how --kubeconfig is made at first.",
)
@click.option("--cert-dir", type=click.Path(file_okay=False), default=None, help="[default: ROOT-DIR/pki]")
@click.option("--rotate-certificates/--no-rotate-certificates", default=True, show_default=True)
@click.option("--hostname-override", default="", help="The node's name.  [default: the host's]")
@click.option("--node-ip", default="127.0.0.1", show_default=True)
@click.option("--address", default="", help="Where to listen.  [default: --node-ip]")
@click.option("--port", type=int, default=10250, show_default=True)
@click.option("--root-dir", default="kubelet", show_default=True, help="Volumes, logs and working directories of pods.")
@click.option("--tls-cert-file", type=_FILE, default=None, help="Without it nothing is served: no logs, no metrics.")
@click.option("--tls-private-key-file", type=_FILE, default=None)
@click.option(
    "--rotate-server-certificates/--no-rotate-server-certificates",
    default=False,
    show_default=True,
    help="Serve with certificates that the cluster signs (kubernetes.io/kubelet-serving).",
)
@click.option("--client-ca-file", type=_FILE, default=None, help="Who holds a certificate of this authority may ask.")
@click.option("--node-labels", default="", help="a=b,c=d")
@click.option("--register-with-taints", default="", help="key=value:NoSchedule,...")
@click.option("--node-status-update-frequency", type=Duration(), default="10s", show_default=True)
@click.option("--node-status-report-frequency", type=Duration(), default="5m", show_default=True)
@click.option("--node-lease-duration-seconds", type=int, default=40, show_default=True)
@click.option("--max-pods", type=int, default=110, show_default=True)
@click.option("--pod-cidr", default="", help="Range of pod addresses.  [default: the Node's spec.podCIDR]")
@click.option("--cloud-provider", type=click.Choice(["", "external"]), default="")
@click.option("--container-runtime", type=click.Choice(["process", "simulated"]), default="process", show_default=True)
@click.option("--image-map", type=_FILE, default=None, help="YAML: which program an image name stands for.")
@click.option("--capacity", type=Amounts(), default="", help="cpu=4,memory=8Gi  [default: what the machine has]")
@click.option("--container-path", default="", help="PATH of containers that set none.  [default: the agent's]")
@click.option("--shutdown-grace-period", type=Duration(), default="5s", show_default=True)
@click.option("--crash-loop-back-off-base", type=Duration(), default="10s", show_default=True)
@click.option("--crash-loop-back-off-limit", type=Duration(), default="5m", show_default=True)
@click.option("--simulated-nodes", type=int, default=0, help="Be this many simulated nodes, NAME-0, NAME-1, ...")
@VERBOSITY
def kubelet(**flags: object) -> None:
    """Run the pods that are bound to this node."""
    try:
        configs = list(configurations(flags))
    except (ConfigurationError, ConfigError, OSError, ValueError) as error:
        raise click.ClickException(str(error)) from error

    async def start(stop: asyncio.Event, ready: Callable[[], None]) -> None:
        if len(configs) == 1:
            await run(configs[0], stop=stop, ready=ready)
        else:
            await run_many(configs, stop=stop, ready=ready)

    run_until_signalled("controlplane.kubelet", int(str(flags["verbosity"])), start)


def configurations(flags: dict[str, object]) -> Iterable[KubeletConfig]:
    """One configuration, or one for each simulated node."""
    name = str(flags["hostname_override"] or socket.gethostname().lower())
    count = int(str(flags["simulated_nodes"]))
    if not count:
        yield _configuration(flags, name, str(flags["container_runtime"]))
    for index in range(count):
        yield _configuration(flags, f"{name}-{index}", "simulated")


def _configuration(flags: dict[str, object], name: str, runtime: str) -> KubeletConfig:
    def text(flag: str) -> str:
        return str(flags[flag] or "")

    def seconds(flag: str) -> float:
        return float(str(flags[flag]))

    capacity = flags["capacity"]
    simulated = runtime == "simulated"
    if not text("bootstrap_kubeconfig") and not Path(text("kubeconfig")).exists():
        raise click.BadParameter(
            f"{text('kubeconfig')} is not there; --bootstrap-kubeconfig could make it", param_hint="--kubeconfig"
        )
    return KubeletConfig(
        kubeconfig=text("kubeconfig"),
        node_name=name,
        bootstrap_kubeconfig=text("bootstrap_kubeconfig"),
        cert_dir=text("cert_dir"),
        rotate_certificates=bool(flags["rotate_certificates"]),
        node_ip=text("node_ip"),
        address=text("address"),
        port=int(text("port") or 0),
        root_dir=str(Path(text("root_dir")).absolute()),
        tls_cert_file="" if simulated else text("tls_cert_file"),
        tls_private_key_file="" if simulated else text("tls_private_key_file"),
        server_tls_bootstrap=bool(flags["rotate_server_certificates"]) and not simulated,
        client_ca_file=text("client_ca_file"),
        node_labels=parse_labels(text("node_labels")),
        register_with_taints=parse_taints(text("register_with_taints")),
        node_status_update_frequency_seconds=seconds("node_status_update_frequency"),
        node_status_report_frequency_seconds=seconds("node_status_report_frequency"),
        node_lease_duration_seconds=int(text("node_lease_duration_seconds")),
        max_pods=int(text("max_pods")),
        pod_cidr="" if simulated else text("pod_cidr"),
        cloud_provider=text("cloud_provider"),
        container_runtime=runtime,
        image_map=text("image_map"),
        capacity=capacity if isinstance(capacity, dict) else {},
        container_path=text("container_path"),
        shutdown_grace_seconds=seconds("shutdown_grace_period"),
        policy=Policy(
            backoff_base_seconds=seconds("crash_loop_back_off_base"),
            backoff_limit_seconds=seconds("crash_loop_back_off_limit"),
        ),
    )
