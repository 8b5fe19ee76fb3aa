"""The flags of `loadbalancer` and `proxy`, and what a user sees of a mistake."""

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from controlplane.network import LoadBalancerConfig, ProxyConfig, command
from controlplane.network.forwarder import Backend


def test_backends_and_listener_are_host_and_port(monkeypatch: pytest.MonkeyPatch) -> None:
    configs: list[LoadBalancerConfig] = []

    async def run(config: LoadBalancerConfig, **_: object) -> None:
        configs.append(config)

    monkeypatch.setattr(command, "run_loadbalancer", run)
    flags = ["--listen", "127.0.0.1:6443", "--backend", "127.0.0.1:6444", "--backend", "[::1]:6445"]
    assert CliRunner().invoke(command.loadbalancer, flags).exit_code == 0
    assert configs == [LoadBalancerConfig("127.0.0.1", 6443, (Backend("127.0.0.1", 6444), Backend("::1", 6445)))]


def test_node_port_addresses_are_a_list(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    configs: list[ProxyConfig] = []

    async def run(config: ProxyConfig, **_: object) -> None:
        configs.append(config)

    monkeypatch.setattr(command, "run_proxy", run)
    kubeconfig = tmp_path / "config"
    kubeconfig.write_text("{}")
    flags = ["--kubeconfig", str(kubeconfig), "--hostname-override=n", "--nodeport-addresses=127.9.0.1/32, 127.9.0.2"]
    assert CliRunner().invoke(command.proxy, flags).exit_code == 0
    assert configs == [ProxyConfig(kubeconfig, "n", ("127.9.0.1", "127.9.0.2"))]


@pytest.mark.parametrize("text", ["127.0.0.1", ":80", "host:port", "host:99999"])
def test_what_is_no_address_is_refused(text: str) -> None:
    result = CliRunner().invoke(command.loadbalancer, ["--listen", text, "--backend", "127.0.0.1:1"])
    assert result.exit_code == 2 and "is not HOST:PORT" in result.output


def test_an_address_in_use_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(command.loadbalancer, ["--listen", address, "--backend", "127.0.0.1:1"])
    assert result.exit_code == 1
    assert result.output.splitlines()[-1].startswith("Error: ") and "Address already in use" in result.output
