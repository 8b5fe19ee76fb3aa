"""Certificate requests from asking to using: refused, approved, signed, cleaned; on the real API server."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from controlplane.controllers import (
    ControllerManagerConfig,
    clusterrole_aggregation,
    csr_approving,
    csr_cleaner,
    csr_signing,
    run,
    token_cleaner,
)
from controlplane.machinery.actions import Delete
from controlplane.machinery.client import ApiClient
from controlplane.machinery.config import ClientConfig
from controlplane.objects import certificates
from controlplane.objects.kinds import CERTIFICATE_SIGNING_REQUESTS, CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES
from controlplane.objects.status import ApiError
from tests.controlplane.apiserver.conftest import Api, StartApi, authority, base_config, start_api
from tests.controlplane.apiserver.memory import MemoryBackend
from tests.controlplane.apiserver.pki import Authority, request_pem, signing_request

__all__ = ["authority", "base_config", "start_api"]

Object = dict[str, Any]

CLIENT_USAGES = ("digital signature", "client auth")
SERVER_USAGES = ("digital signature", "server auth")
NAMES = tuple(
    module.NAME for module in (csr_approving, csr_signing.Signing, csr_cleaner, clusterrole_aggregation, token_cleaner)
)


def csr(
    name: str, request: str, signer: str = certificates.CLIENT, usages: tuple[str, ...] = CLIENT_USAGES, **spec: Any
) -> Object:
    return {
        "metadata": {"name": name},
        "spec": {"request": request, "signerName": signer, "usages": list(usages), **spec},
    }


@pytest.fixture
async def api(start_api: StartApi, authority: Authority) -> AsyncIterator[Api]:
    """A server, and the controllers of certificates and roles."""
    found: Api = await start_api(MemoryBackend())
    kubeconfig = found.kubeconfig("system:kube-controller-manager", ())
    config = ControllerManagerConfig(
        client=ClientConfig.from_kubeconfig(kubeconfig),
        controllers=NAMES,
        leader_elect=False,
        cluster_signing_cert_file=str(authority.path),
        cluster_signing_key_file=str(authority.key_path),
    )
    stop, ready = asyncio.Event(), asyncio.Event()
    task = asyncio.create_task(run(config, stop=stop, ready=ready.set))
    yield found
    stop.set()
    await task


async def until(client: ApiClient, name: str, holds: Callable[[Object], bool]) -> Object:
    """The request once it is as wanted."""
    async with asyncio.timeout(15):
        async for event in client.watch(
            CERTIFICATE_SIGNING_REQUESTS, field_selector=f"metadata.name={name}", resource_version="0"
        ):
            if holds(event.object):
                return event.object
    raise AssertionError("the watch ended")


def has(kind: str) -> Callable[[Object], bool]:
    return lambda obj: any(each["type"] == kind for each in (obj.get("status") or {}).get("conditions") or ())


def is_signed(obj: Object) -> bool:
    return bool((obj.get("status") or {}).get("certificate"))


async def approve(client: ApiClient, obj: Object, kind: str = "Approved") -> Object:
    condition = {"type": kind, "status": "True", "reason": "r", "message": "m"}
    status = {"conditions": [condition]}
    return await client.update(CERTIFICATE_SIGNING_REQUESTS, {**obj, "status": status}, subresource="approval")


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


async def test_an_approved_request_becomes_a_certificate_that_logs_in(api: Api, tmp_path: Path) -> None:
    client = api.client()
    key = ec.generate_private_key(ec.SECP256R1())
    request = base64.b64encode(request_pem(key, "jane", ("dev",))).decode()
    made = await client.create(CERTIFICATE_SIGNING_REQUESTS, csr("jane", request, expirationSeconds=3600))
    assert not made.get("status")
    await approve(client, made)
    signed = await until(client, "jane", is_signed)
    pem = base64.b64decode(signed["status"]["certificate"])
    certificate = x509.load_pem_x509_certificate(pem)
    assert certificate.subject.rfc4514_string() == "CN=jane,O=dev"
    assert certificate.not_valid_after_utc - datetime.now(UTC) < timedelta(seconds=3601)
    crt, file = tmp_path / "jane.crt", tmp_path / "jane.key"
    crt.write_bytes(pem)
    file.write_bytes(_key_pem(key))
    jane = ApiClient(ClientConfig.from_files(api.server, api.authority.path, crt, file))
    api.clients.append(jane)
    with pytest.raises(ApiError, match='User "jane" cannot list'):
        await jane.list(CLUSTER_ROLES)


async def test_a_machine_with_a_bootstrap_group_gets_its_first_certificate(api: Api) -> None:
    joining = api.client("system:bootstrap:abcdef", ("system:bootstrappers", "system:bootstrappers:pilothouse:nodes"))
    request = signing_request("system:node:n7", ("system:nodes",))
    await joining.create(CERTIFICATE_SIGNING_REQUESTS, csr("n7", request, certificates.KUBELET_CLIENT))
    signed = await until(joining, "n7", is_signed)
    assert signed["status"]["conditions"][0]["reason"] == "AutoApproved"


async def test_a_node_renews_its_own_certificate_and_no_others(api: Api) -> None:
    node = api.client("system:node:n1", ("system:nodes",))
    admin = api.client()
    own, other = (signing_request(f"system:node:{name}", ("system:nodes",)) for name in ("n1", "n2"))
    await node.create(CERTIFICATE_SIGNING_REQUESTS, csr("own", own, certificates.KUBELET_CLIENT))
    await until(admin, "own", is_signed)
    with pytest.raises(ApiError, match="can only create a node CSR with CN=system:node:n1"):
        await node.create(CERTIFICATE_SIGNING_REQUESTS, csr("other", other, certificates.KUBELET_CLIENT))
    stranger = api.client("mallory", ())
    await admin.create(
        CLUSTER_ROLE_BINDINGS,
        {
            "metadata": {"name": "askers"},
            "roleRef": {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": "system:node-bootstrapper"},
            "subjects": [{"apiGroup": CLUSTER_ROLES.group, "kind": "User", "name": "mallory"}],
        },
    )
    await stranger.create(CERTIFICATE_SIGNING_REQUESTS, csr("stolen", other, certificates.KUBELET_CLIENT))
    # A second request of the node shows that the controllers have passed over the stolen one.
    again = signing_request("system:node:n1", ("system:nodes",))
    await node.create(CERTIFICATE_SIGNING_REQUESTS, csr("own2", again, certificates.KUBELET_CLIENT))
    await until(admin, "own2", is_signed)
    assert not (await admin.get(CERTIFICATE_SIGNING_REQUESTS, "stolen")).get("status")


async def test_a_serving_certificate_waits_for_a_person_and_carries_its_names(api: Api) -> None:
    node, admin = api.client("system:node:n1", ("system:nodes",)), api.client()
    request = signing_request("system:node:n1", ("system:nodes",), ("n1.local", "127.0.0.9"))
    made = await node.create(
        CERTIFICATE_SIGNING_REQUESTS, csr("serving", request, certificates.KUBELET_SERVING, SERVER_USAGES)
    )
    await approve(admin, made)
    signed = await until(admin, "serving", is_signed)
    certificate = x509.load_pem_x509_certificate(base64.b64decode(signed["status"]["certificate"]))
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["n1.local"]
    usage = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert [each.dotted_string for each in usage] == ["1.3.6.1.5.5.7.3.1"]


@pytest.mark.parametrize(
    ("signer", "usages", "name", "groups", "hosts", "why"),
    [
        (certificates.KUBELET_SERVING, SERVER_USAGES, "system:node:n", ("system:nodes",), (), "at least one DNS or IP"),
        (certificates.KUBELET_SERVING, CLIENT_USAGES, "system:node:n", ("system:nodes",), ("a",), "usages did not"),
        (certificates.KUBELET_CLIENT, CLIENT_USAGES, "n", ("system:nodes",), (), "does not begin with"),
        (certificates.KUBELET_CLIENT, CLIENT_USAGES, "system:node:n", ("x",), (), "organization is not system:nodes"),
        (certificates.KUBELET_CLIENT, CLIENT_USAGES, "system:node:n", ("system:nodes",), ("a",), "not allowed"),
        (certificates.CLIENT, SERVER_USAGES, "n", (), (), "must have client auth"),
        (certificates.CLIENT, ("client auth", "cert sign"), "n", (), (), "'cert sign'"),
    ],
)
async def test_what_a_signer_does_not_take_fails_for_good(
    api: Api,
    signer: str,
    usages: tuple[str, ...],
    name: str,
    groups: tuple[str, ...],
    hosts: tuple[str, ...],
    why: str,
) -> None:
    client = api.client()
    made = await client.create(
        CERTIFICATE_SIGNING_REQUESTS, csr("bad", signing_request(name, groups, hosts), signer, usages)
    )
    await approve(client, made)
    failed = await until(client, "bad", has("Failed"))
    condition = next(each for each in failed["status"]["conditions"] if each["type"] == "Failed")
    assert condition["reason"] == "SignerValidationFailure" and why in condition["message"]
    assert not is_signed(failed)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request": "eA=="}, "spec.request"),
        ({"request": ""}, "spec.request"),
        ({"usages": []}, "spec.usages"),
        ({"usages": ["flying"]}, "spec.usages[0]"),
        ({"usages": ["client auth", "client auth"]}, "spec.usages[1]"),
        ({"signerName": "kubernetes.io/legacy-unknown"}, "spec.signerName"),
        ({"signerName": "nodomain"}, "spec.signerName"),
        ({"expirationSeconds": 599}, "spec.expirationSeconds"),
    ],
)
async def test_a_request_is_looked_at_before_it_is_stored(api: Api, changes: Object, field: str) -> None:
    obj = csr("c", signing_request("jane"))
    with pytest.raises(ApiError) as caught:
        await api.client().create(CERTIFICATE_SIGNING_REQUESTS, {**obj, "spec": {**obj["spec"], **changes}})
    assert caught.value.code == 422 and field in caught.value.message


async def test_nobody_asks_for_a_masters_certificate(api: Api) -> None:
    with pytest.raises(ApiError, match="system:masters group is not allowed"):
        await api.client().create(CERTIFICATE_SIGNING_REQUESTS, csr("c", signing_request("jane", ("system:masters",))))


async def test_to_approve_and_to_sign_are_rights_of_their_own(api: Api) -> None:
    admin, clerk = api.client(), api.client("clerk", ())
    rules: list[Object] = [
        {
            "apiGroups": ["certificates.k8s.io"],
            "resources": [f"certificatesigningrequests{suffix}" for suffix in ("", "/approval", "/status")],
            "verbs": ["*"],
        }
    ]
    await admin.create(CLUSTER_ROLES, {"metadata": {"name": "clerk"}, "rules": rules})
    reference = {"apiGroup": CLUSTER_ROLES.group, "kind": "ClusterRole", "name": "clerk"}
    subject = {"apiGroup": CLUSTER_ROLES.group, "kind": "User", "name": "clerk"}
    binding = {"metadata": {"name": "clerk"}, "roleRef": reference, "subjects": [subject]}
    await admin.create(CLUSTER_ROLE_BINDINGS, binding)
    made = await clerk.create(CERTIFICATE_SIGNING_REQUESTS, csr("c", signing_request("jane"), "example.com/own"))
    with pytest.raises(ApiError, match="not permitted to approve requests with signerName"):
        await approve(clerk, made)
    forged = base64.b64encode(api.authority.path.read_bytes()).decode()
    with pytest.raises(ApiError, match="not permitted to sign requests with signerName"):
        await clerk.update(
            CERTIFICATE_SIGNING_REQUESTS, {**made, "status": {"certificate": forged}}, subresource="status"
        )
    signers = {"apiGroups": ["certificates.k8s.io"], "resources": ["signers"], "resourceNames": ["example.com/*"]}
    role = await admin.get(CLUSTER_ROLES, "clerk")
    await admin.update(CLUSTER_ROLES, {**role, "rules": [*rules, {**signers, "verbs": ["approve", "sign"]}]})
    denied = await approve(clerk, made, "Denied")
    with pytest.raises(ApiError, match="mutually exclusive"):
        both = [{"type": kind, "status": "True"} for kind in ("Approved", "Denied")]
        await clerk.update(
            CERTIFICATE_SIGNING_REQUESTS, {**denied, "status": {"conditions": both}}, subresource="approval"
        )
    with pytest.raises(ApiError, match="may not remove a condition"):
        await clerk.update(
            CERTIFICATE_SIGNING_REQUESTS, {**denied, "status": {"conditions": []}}, subresource="approval"
        )
    changed = {**denied, "spec": {**denied["spec"], "username": "somebody", "signerName": certificates.CLIENT}}
    kept = await clerk.update(CERTIFICATE_SIGNING_REQUESTS, changed)
    assert kept["spec"] == made["spec"]


async def test_aggregated_rules_are_written_into_the_role(api: Api) -> None:
    client = api.client()
    rule = {"apiGroups": ["example.com"], "resources": ["things"], "verbs": ["get"]}
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "things", "labels": labels}, "rules": [rule]})

    async def until_view(holds: Callable[[list[Object]], bool]) -> None:
        async with asyncio.timeout(15):
            async for event in client.watch(CLUSTER_ROLES, field_selector="metadata.name=view", resource_version="0"):
                if holds(event.object.get("rules") or []):
                    return

    await until_view(lambda rules: rule in rules and len(rules) > 1)
    await client.delete(CLUSTER_ROLES, "things")
    await until_view(lambda rules: rule not in rules)


NOW = datetime(2030, 1, 1, tzinfo=UTC)


def _aged(kind: str, age_seconds: float, **status: Any) -> Object:
    moment = (NOW - timedelta(seconds=age_seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")
    conditions = [{"type": kind, "status": "True", "lastUpdateTime": moment}] if kind else []
    return {
        "metadata": {"name": "c", "uid": "u", "resourceVersion": "1", "creationTimestamp": moment},
        "status": {"conditions": conditions, **status},
    }


@pytest.mark.parametrize(
    ("obj", "goes"),
    [
        (_aged("", 23 * 3600), False),
        (_aged("", 24 * 3600), True),
        (_aged("Approved", 2 * 3600), False),  # nobody has signed it yet
        (_aged("Approved", 2 * 3600, certificate="eA=="), True),
        (_aged("Approved", 1800, certificate="eA=="), False),
        (_aged("Denied", 1800), False),
        (_aged("Denied", 3600), True),
        (_aged("Failed", 3601), True),
    ],
)
def test_old_requests_go(obj: Object, goes: bool) -> None:
    plan = csr_cleaner.plan(obj, NOW)
    assert [type(action) for action in plan.actions] == ([Delete] if goes else [])
    assert (plan.again_after is not None) != goes


@pytest.mark.parametrize(
    ("text", "goes"), [("2029-12-31T00:00:00Z", True), ("2030-01-02T00:00:00Z", False), ("?", True)]
)
def test_ended_bootstrap_tokens_go(text: str, goes: bool) -> None:
    data = {"expiration": base64.b64encode(text.encode()).decode()}
    secret = {"metadata": {"name": "bootstrap-token-a", "uid": "u", "resourceVersion": "1"}, "data": data}
    assert bool(token_cleaner.plan(secret, NOW).actions) == goes
