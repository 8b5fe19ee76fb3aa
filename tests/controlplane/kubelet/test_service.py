"""`run` as the launcher calls it: stops when told to, also before it is ready; says why it cannot start."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from controlplane.kubelet import ConfigurationError, KubeletConfig, run, run_many
from controlplane.machinery.config import ConfigError

KUBECONFIG = """
apiVersion: v1
kind: Config
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
clusters: [{name: c, cluster: {server: "http://127.240.9.9:1"}}]
users: [{name: u, user: {}}]
"""


def config(folder: Path, **fields: object) -> KubeletConfig:
    path = folder / "kubeconfig"
    path.write_text(KUBECONFIG)
    return KubeletConfig(kubeconfig=str(path), node_name="n1", root_dir=str(folder / "node"), **fields)  # type: ignore[arg-type]


def never() -> None:
    raise AssertionError("it cannot be ready")


@pytest.mark.parametrize("runtime", ["process", "simulated"])
async def test_a_node_whose_api_never_answers_stops_when_told_to(tmp_path: Path, runtime: str) -> None:
    stop = asyncio.Event()
    task = asyncio.ensure_future(run(config(tmp_path, container_runtime=runtime), stop=stop, ready=never))
    await asyncio.sleep(0.05)  # for no event: it tries for ever
    assert not task.done()
    stop.set()
    async with asyncio.timeout(5):
        await task


async def test_a_wrong_configuration_is_said_at_once(tmp_path: Path) -> None:
    stop = asyncio.Event()
    with pytest.raises(ConfigurationError, match="docker"):
        await run(config(tmp_path, container_runtime="docker"), stop=stop, ready=never)
    with pytest.raises(ConfigurationError, match="only simulated nodes"):
        await run_many([config(tmp_path)], stop=stop, ready=never)
    missing = KubeletConfig(kubeconfig=str(tmp_path / "none"), node_name="n1", root_dir=str(tmp_path / "node"))
    with pytest.raises((ConfigError, OSError)):
        await run(missing, stop=stop, ready=never)


async def test_a_port_that_is_taken_is_one_plain_error(tmp_path: Path) -> None:
    from tests.controlplane.kubelet.test_server import issue

    for name in ("ca", "server"):
        issue(tmp_path, name)
    async with await asyncio.start_server(lambda _r, _w: None, "127.240.9.1", 0) as taken:
        port = taken.sockets[0].getsockname()[1]
        files = {"tls_cert_file": str(tmp_path / "server.crt"), "tls_private_key_file": str(tmp_path / "server.key")}
        made = config(tmp_path, node_ip="127.240.9.1", port=port, client_ca_file=str(tmp_path / "ca.crt"), **files)
        with pytest.raises(OSError, match="in use"):
            await run(made, stop=asyncio.Event(), ready=never)
