"""A machine joins with a bootstrap token, and renews its certificate before that ends; with real servers."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controlplane.controllers import ControllerManagerConfig, csr_approving, csr_signing
from controlplane.controllers import run as run_controllers
from controlplane.kubelet import certificates, run
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.clock import SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS, NODES, SECRETS
from tests.controlplane.apiserver.conftest import Api, StartApi, authority, base_config, start_api
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.kubelet.harness import simulated_config

__all__ = ["authority", "base_config", "start_api"]

TOKEN = ("abcdef", "0123456789abcdef")


@pytest.fixture
async def api(start_api: StartApi, authority: Authority) -> AsyncIterator[Api]:
    """A server, the controllers of certificates, and a bootstrap token."""
    found: Api = await start_api(MemoryBackend())
    config = ControllerManagerConfig(
        client=ClientConfig.from_kubeconfig(found.kubeconfig("system:kube-controller-manager", ())),
        controllers=(csr_approving.NAME, csr_signing.Signing.NAME),
        leader_elect=False,
        cluster_signing_cert_file=str(authority.path),
        cluster_signing_key_file=str(authority.key_path),
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run_controllers(config, stop=stop, ready=ready.set))
    data = {
        "token-id": TOKEN[0],
        "token-secret": TOKEN[1],
        "usage-bootstrap-authentication": "true",
        "auth-extra-groups": "system:bootstrappers:pilothouse:nodes",
    }
    secret = {
        "metadata": {"name": f"bootstrap-token-{TOKEN[0]}"},
        "type": "bootstrap.kubernetes.io/token",
        "data": {name: base64.b64encode(value.encode()).decode() for name, value in data.items()},
    }
    await found.client().create(SECRETS, secret, "kube-system")
    yield found
    stop.set()
    await task


def bootstrap_kubeconfig(api: Api, folder: Path) -> Path:
    """What an administrator copies to a new machine: the authority and a token."""
    cluster = {
        "server": api.server,
        "certificate-authority-data": base64.b64encode(api.authority.path.read_bytes()).decode(),
    }
    document: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": {"token": ".".join(TOKEN)}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = folder / "bootstrap.conf"
    path.write_text(json.dumps(document))
    return path


async def test_a_machine_joins_with_a_token_and_becomes_a_node(api: Api, tmp_path: Path) -> None:
    config = replace(
        simulated_config(),
        node_name="joined",
        kubeconfig=str(tmp_path / "kubelet.conf"),
        bootstrap_kubeconfig=str(bootstrap_kubeconfig(api, tmp_path)),
        cert_dir=str(tmp_path / "pki"),
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run(config, stop=stop, ready=ready.set))
    async with asyncio.timeout(20):
        await ready.wait()
    node = await api.client().get(NODES, "joined")
    assert node["metadata"]["name"] == "joined"
    pem = certificates.certificate_path(config)
    assert pem.stat().st_mode & 0o077 == 0
    stop.set()
    await task
    before = pem.read_bytes()
    await certificates.bootstrap(config, SystemClock(), Random(1))  # a second start asks nobody
    assert pem.read_bytes() == before


async def test_a_certificate_is_renewed_with_itself_and_used_at_once(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(
        simulated_config(),
        node_name="joined",
        kubeconfig=str(tmp_path / "kubelet.conf"),
        bootstrap_kubeconfig=str(bootstrap_kubeconfig(api, tmp_path)),
        cert_dir=str(tmp_path / "pki"),
    )
    await certificates.bootstrap(config, SystemClock(), Random(1))
    client = ApiClient(ClientConfig.from_kubeconfig(config.kubeconfig))
    api.clients.append(client)
    with pytest.raises(ApiError, match="only its own Node object"):
        await client.list(NODES)
    pem = certificates.certificate_path(config)
    before, renewed = pem.read_bytes(), asyncio.Event()

    def changed() -> None:
        client.reload()
        # What follows is long before the end of the new one's life.
        monkeypatch.setattr(certificates, "RENEW_SHARE", (0.7, 0.9))
        renewed.set()

    monkeypatch.setattr(certificates, "RENEW_SHARE", (0.0, 0.0))
    rotation = asyncio.create_task(certificates.Rotation(config, client, SystemClock(), Random(1), changed).run())
    async with asyncio.timeout(20):
        await renewed.wait()
    rotation.cancel()
    assert pem.read_bytes() != before
    with pytest.raises(ApiError, match='User "system:node:joined"'):
        await client.list(NODES)
    made = (await api.client().list(CERTIFICATE_SIGNING_REQUESTS))["items"]
    assert {each["spec"]["username"] for each in made} == {"system:bootstrap:abcdef", "system:node:joined"}
    begin, end = certificates.life_of(pem)
    due = certificates.Rotation(config, client, SystemClock(), Random(1), changed).due_at()
    assert begin + (end - begin) * 0.6 < due < end


async def test_a_denied_request_is_told(api: Api) -> None:
    stranger = api.client("mallory", ())  # nothing approves a stranger's node by itself
    await _may_ask(api)
    denying = asyncio.create_task(_deny_the_first(api.client()))
    with pytest.raises(certificates.Refused, match="Denied: no"):
        await certificates.obtain(stranger, certificates.Ask("n9"))
    await denying


async def _may_ask(api: Api) -> None:
    from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES

    reference = {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": "system:node-bootstrapper"}
    subject = {"apiGroup": CLUSTER_ROLES.group, "kind": "User", "name": "mallory"}
    binding = {"metadata": {"name": "askers"}, "roleRef": reference, "subjects": [subject]}
    await api.client().create(CLUSTER_ROLE_BINDINGS, binding)


async def _deny_the_first(admin: ApiClient) -> None:
    async for event in admin.watch(CERTIFICATE_SIGNING_REQUESTS, resource_version="0"):
        status = {"conditions": [{"type": "Denied", "status": "True", "reason": "r", "message": "no"}]}
        await admin.update(CERTIFICATE_SIGNING_REQUESTS, {**event.object, "status": status}, subresource="approval")
        return
