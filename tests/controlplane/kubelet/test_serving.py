"""A node's serving certificate: asked for, approved for its own names alone, renewed and taken into use; with real servers."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from cryptography import x509

from controlplane.controllers import ControllerManagerConfig, csr_serving_approving, csr_signing
from controlplane.controllers import run as run_controllers
from controlplane.kubelet import certificates, serving
from controlplane.kubelet.config import KubeletConfig
from controlplane.kubelet.serving import Serving
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS, NODES
from tests.controlplane.apiserver.conftest import Api, StartApi, authority, base_config, start_api
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.kubelet.harness import simulated_config

__all__ = ["authority", "base_config", "start_api"]

ADDRESS = "127.0.0.9"


@pytest.fixture
async def api(start_api: StartApi, authority: Authority) -> AsyncIterator[Api]:
    """A server, a Node `n` at ADDRESS, and controllers that approve and sign for a few seconds."""
    found: Api = await start_api(MemoryBackend())
    config = ControllerManagerConfig(
        client=ClientConfig.from_kubeconfig(found.kubeconfig("system:kube-controller-manager", ())),
        controllers=(csr_serving_approving.NAME, csr_signing.Signing.NAME),
        leader_elect=False,
        approve_kubelet_serving=True,
        cluster_signing_cert_file=str(authority.path),
        cluster_signing_key_file=str(authority.key_path),
        cluster_signing_duration_seconds=3.0,
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run_controllers(config, stop=stop, ready=ready.set))
    addresses = [{"type": "InternalIP", "address": ADDRESS}, {"type": "Hostname", "address": "n"}]
    await found.client().create(NODES, {"metadata": {"name": "n"}})
    await found.client().patch(NODES, "n", {"status": {"addresses": addresses}}, type="merge", subresource="status")
    yield found
    stop.set()
    await task


def node_config(authority: Authority, tmp_path: Path) -> KubeletConfig:
    return replace(
        simulated_config(),
        node_name="n",
        node_ip=ADDRESS,
        cert_dir=str(tmp_path / "pki"),
        client_ca_file=str(authority.path),
        server_tls_bootstrap=True,
    )


async def shown(port: int, authority: Authority) -> x509.Certificate:
    """The certificate of a listener, checked for ADDRESS against the authority."""
    context = ssl.create_default_context(cafile=str(authority.path))
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname=ADDRESS)
    try:
        return x509.load_der_x509_certificate(writer.get_extra_info("ssl_object").getpeercert(True))
    finally:
        writer.transport.abort()


async def test_short_lived_certificates_follow_each_other_on_one_listener(
    api: Api, authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Certificates begin five minutes before they are made, so that a new one is already at 0.99 of its life.
    monkeypatch.setattr(certificates, "RENEW_SHARE", (0.994, 0.995))
    config = node_config(authority, tmp_path)
    own = Serving(config, api.client("system:node:n", ("system:nodes",)), SystemClock(), Random(1))
    loaded: asyncio.Queue[None] = asyncio.Queue()
    load = own.load

    def load_and_tell() -> None:
        load()
        loaded.put_nowait(None)

    own._changed = load_and_tell
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0, ssl=own.context)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises((ssl.SSLError, ConnectionError)):  # nobody signed anything yet
        await shown(port, authority)
    rotation = asyncio.create_task(own.run())
    seen = set()
    async with asyncio.timeout(30):
        for _ in range(3):
            await loaded.get()
            certificate = await shown(port, authority)
            seen.add(certificate.serial_number)
            assert certificate.not_valid_after_utc - certificate.not_valid_before_utc <= timedelta(minutes=5, seconds=3)
    rotation.cancel()
    server.close()
    assert len(seen) == 3
    assert (tmp_path / "pki" / serving.FILE).stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("author", "names", "addresses"),
    [
        ("n", ["other"], []),
        ("n", ["n", "kubernetes.default"], []),
        ("n", [], ["127.0.0.1"]),
        ("n", ["n"], [ADDRESS, "10.0.0.1"]),
        ("", ["n"], [ADDRESS]),
        ("gone", ["gone"], []),
    ],
)
async def test_names_of_others_wait_for_a_person(api: Api, author: str, names: list[str], addresses: list[str]) -> None:
    client = api.client(f"system:node:{author}", ("system:nodes",)) if author else api.client()
    ask = certificates.Ask(
        author if author == "gone" else "n",
        "kubernetes.io/kubelet-serving",
        serving.USAGES,
        tuple(names),
        tuple(map(ipaddress.ip_address, addresses)),
    )
    name = await _post(client, ask)
    good = replace(serving.ask_of(replace(simulated_config(), node_name="n", node_ip=ADDRESS)))
    async with asyncio.timeout(20):  # a good one that came later is answered: the first was looked at
        await certificates.obtain(api.client("system:node:n", ("system:nodes",)), good)
    status = (await api.client().get(CERTIFICATE_SIGNING_REQUESTS, name)).get("status") or {}
    assert not status.get("certificate")
    assert not [each for each in status.get("conditions") or () if each["type"] == "Approved"]


async def _post(client: ApiClient, ask: certificates.Ask) -> str:
    _, request = certificates.make_request(ask)
    spec = {
        "request": base64.b64encode(request).decode(),
        "signerName": ask.signer,
        "usages": list(ask.usages),
    }
    made = await client.create(CERTIFICATE_SIGNING_REQUESTS, {"metadata": {"generateName": "csr-"}, "spec": spec})
    return str(made["metadata"]["name"])


async def test_files_that_somebody_else_renews_are_read_again(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(serving, "CHECK_SECONDS", 0.01)
    files = [tmp_path / "a.crt", tmp_path / "a.key"]
    for file in files:
        file.write_bytes(b"1")
    news: asyncio.Queue[bytes] = asyncio.Queue()

    def load() -> None:
        news.put_nowait(files[0].read_bytes())
        if files[0].read_bytes() == b"torn":
            raise ValueError("half a pair")

    task = asyncio.create_task(serving.follow(files, load))
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        files[0].write_bytes(b"torn")
        assert await news.get() == b"torn" and await news.get() == b"torn"  # tried again
        files[0].write_bytes(b"whole")
        while await news.get() != b"whole":
            pass
    task.cancel()
