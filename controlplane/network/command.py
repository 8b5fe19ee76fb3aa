"""`pilothouse proxy` and `pilothouse loadbalancer`: each alone, in the foreground."""

import socket
from pathlib import Path

import click

from controlplane.machinery.command import VERBOSITY, run_until_signalled
from controlplane.network import Backend, LoadBalancerConfig, ProxyConfig, run_loadbalancer, run_proxy


class HostPort(click.ParamType[Backend]):
    """HOST:PORT."""

    name = "host:port"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Backend:
        """The two parts; an IPv6 address stands in brackets."""
        if isinstance(value, Backend):
            return value
        host, _, port = str(value).rpartition(":")
        if not host or not port.isdigit() or int(port) > 65535:
            self.fail(f"{value!r} is not HOST:PORT", param, ctx)
        return Backend(host.strip("[]"), int(port))


@click.command()
@click.option("--kubeconfig", type=click.Path(exists=True, dir_okay=False, path_type=Path), required=True)
@click.option("--hostname-override", default="", help="The node's name.  [default: the host's name]")
@click.option(
    "--nodeport-addresses", default="", metavar="ADDRESS,...", help="The node's own addresses, where NodePorts listen."
)
@VERBOSITY
def proxy(kubeconfig: Path, hostname_override: str, nodeport_addresses: str, verbosity: int) -> None:
    """Forward Services' addresses to ready endpoints."""
    config = ProxyConfig(
        kubeconfig=kubeconfig,
        node_name=hostname_override or socket.gethostname(),
        node_addresses=tuple(
            part.strip().removesuffix("/32") for part in nodeport_addresses.split(",") if part.strip()
        ),
    )
    run_until_signalled(
        "controlplane.network", verbosity, lambda stop, ready: run_proxy(config, stop=stop, ready=ready)
    )


@click.command()
@click.option("--listen", type=HostPort(), required=True, help="Where clients connect.")
@click.option("--backend", "backends", type=HostPort(), multiple=True, required=True, help="An API server; repeat it.")
@click.option(
    "--certificate-authority",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Ask backends for /readyz over TLS; without it they are probed by a TCP connect.",
)
@VERBOSITY
def loadbalancer(
    listen: Backend, backends: tuple[Backend, ...], certificate_authority: Path | None, verbosity: int
) -> None:
    """One address in front of several API servers."""
    config = LoadBalancerConfig(listen.host, listen.port, backends, certificate_authority)
    run_until_signalled(
        "controlplane.network", verbosity, lambda stop, ready: run_loadbalancer(config, stop=stop, ready=ready)
    )
