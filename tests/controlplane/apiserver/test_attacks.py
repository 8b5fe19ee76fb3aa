"""Tries to get past authorization: spellings of paths, headers, impersonation, old TLS."""

from __future__ import annotations

import asyncio
import json
import ssl
from typing import Any

import pytest

from controlplane.machinery.client import ApiClient
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS, SECRETS, SERVICE_ACCOUNTS
from tests.controlplane.apiserver.conftest import Api

RBAC = "rbac.authorization.k8s.io"
WHO = "/apis/authentication.k8s.io/v1/selfsubjectreviews"


async def _raw(api: Api, request: bytes, certificate: str = "") -> bytes:
    """Bytes as they are to the server, and all that it answers."""
    context = ssl.create_default_context(cafile=str(api.authority.path))
    if certificate:
        crt, key = api.authority.issue(certificate, certificate)
        context.load_cert_chain(crt, key)
    port = int(api.server.rpartition(":")[2])
    async with asyncio.timeout(10):
        reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
        writer.write(request)
        answer = await reader.read()
        writer.transport.abort()
    return answer


async def _allow(client: ApiClient, name: str, *rules: dict[str, Any]) -> None:
    await client.create(CLUSTER_ROLES, {"metadata": {"name": name}, "rules": list(rules)})
    reference = {"apiGroup": RBAC, "kind": "ClusterRole", "name": name}
    subjects = [{"apiGroup": RBAC, "kind": "User", "name": name}]
    await client.create(CLUSTER_ROLE_BINDINGS, {"metadata": {"name": name}, "roleRef": reference, "subjects": subjects})


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/namespaces/default/secrets/s",
        "//api/v1/namespaces/default/secrets/s",
        "/api//v1/namespaces/default/secrets/s",
        "/api/v1/namespaces/default//secrets/s",
        "/api/v1/namespaces/default/configmaps/../secrets/s",
        "/api/v1/namespaces/default/configmaps/%2e%2e/secrets/s",
        "/api/v1/namespaces/default/configmaps%2f..%2fsecrets/s",
        "/api/v1/namespaces/default/configmaps/..%2fsecrets%2fs",
        "/api/v1/namespaces/default/configmaps/..%252fsecrets%252fs",
        "/healthz/../api/v1/namespaces/default/secrets/s",
        "/healthz/%2e%2e/api/v1/namespaces/default/secrets/s",
        "/version/..;/api/v1/namespaces/default/secrets/s",
        "/%61pi/v1/namespaces/default/secrets/s",
        "/api/v1/namespaces/default/Secrets/s",
        "/api/v1/namespaces/default/secrets/s/",
        "/api/v1/watch/namespaces/default/secrets/s",
        "/api/v1/namespaces/default/secrets/s?x=/healthz",
        "/api/v1/namespaces/default/secrets/s#/healthz",
        "http://x/api/v1/namespaces/default/secrets/s",
    ],
)
async def test_no_spelling_of_a_path_gets_past_rbac(api: Api, client: ApiClient, path: str) -> None:
    await client.create(SECRETS, {"metadata": {"name": "s"}, "stringData": {"k": "hidden"}}, "default")
    rule = {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["*"]}
    await _allow(client, "reader", rule)
    request = f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
    for certificate in ("reader", ""):
        answer = await _raw(api, request, certificate)
        status = int(answer.split(b" ", 2)[1])
        assert status in (400, 401, 403, 404), answer
        assert b"aGlkZGVu" not in answer  # base64 of `hidden`


@pytest.mark.parametrize(
    "headers",
    [
        {"x-remote-user": "admin", "x-remote-group": "system:masters"},
        {"X_Remote_User": "admin", "X_Remote_Group": "system:masters"},
        {"impersonate-user": "admin"},
        {"impersonate-user": "jane", "impersonate-group": "system:masters"},
        {"impersonate-group": "system:masters"},
        {"impersonate-uid": "1"},
        {"impersonate-extra-scopes": "all"},
        {"impersonate-user": "jane", "impersonate-extra-scopes": "all"},
        {"impersonate-user": "system:serviceaccount:kube-system:default"},
        {"authorization": "Bearer "},
        {"authorization": "Basic YWRtaW46YWRtaW4="},
        {"x-forwarded-for": "127.0.0.1", "x-original-url": "/healthz", "x-rewrite-url": "/healthz"},
    ],
)
async def test_no_header_makes_somebody_else_of_a_user(api: Api, headers: dict[str, str]) -> None:
    jane = api.client("jane", ())
    answer = await jane.raw("GET", SECRETS.path("default"), None, headers)
    assert answer.status in (400, 403)
    seen = await jane.raw("POST", WHO, {}, headers)
    if seen.status == 201:
        info = json.loads(seen.body)["status"]["userInfo"]
        assert info["username"] == "jane" and "system:masters" not in info["groups"]


async def test_impersonation_needs_the_right_for_every_part(api: Api, client: ApiClient) -> None:
    rules = [
        {"apiGroups": [""], "resources": ["users"], "resourceNames": ["bob"], "verbs": ["impersonate"]},
        {"apiGroups": [""], "resources": ["groups"], "resourceNames": ["dev"], "verbs": ["impersonate"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["userextras/scopes"], "verbs": ["impersonate"]},
        {"apiGroups": ["authentication.k8s.io"], "resources": ["uids"], "verbs": ["impersonate"]},
    ]
    await _allow(client, "actor", *rules)
    actor = api.client("actor", ())
    full = {
        "impersonate-user": "bob",
        "impersonate-group": "dev",
        "impersonate-uid": "7",
        "impersonate-extra-scopes": "s",
    }
    answer = await actor.raw("POST", WHO, {}, full)
    assert json.loads(answer.body)["status"]["userInfo"] == {
        "username": "bob",
        "uid": "7",
        "groups": ["dev", "system:authenticated"],
        "extra": {"scopes": ["s"]},
    }
    for name, value in (
        ("impersonate-user", "ann"),
        ("impersonate-group", "system:masters"),
        ("impersonate-extra-other", "s"),
    ):
        assert (await actor.raw("POST", WHO, {}, {**full, name: value})).status == 403


async def test_a_request_within_a_request_is_one_request(api: Api) -> None:
    """A body with two lengths, or another request inside, is never taken for a second request."""
    inner = "GET /api/v1/secrets HTTP/1.1\r\nhost: x\r\n\r\n"
    both = (
        "POST /api/v1/namespaces/default/configmaps HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n"
        f"transfer-encoding: chunked\r\nconnection: close\r\n\r\n{len(inner):x}\r\n{inner}\r\n0\r\n\r\n"
    )
    answer = await _raw(api, both.encode(), "smuggler")
    assert answer.count(b"HTTP/1.1 ") <= 1


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_old_tls_is_refused(api: Api, version: ssl.TLSVersion) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(api.authority.path)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = version
    context.set_ciphers("ALL:@SECLEVEL=0")
    port = int(api.server.rpartition(":")[2])
    with pytest.raises((ssl.SSLError, OSError)):
        await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, server_hostname="localhost")
    assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
    writer.transport.abort()


@pytest.mark.parametrize("address", ["169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "0.0.0.0", "224.0.0.1"])
async def test_no_proxy_reaches_what_only_the_servers_own_machine_may(client: ApiClient, address: str) -> None:
    await client.create(SERVICE_ACCOUNTS, {"metadata": {"name": "default"}}, "default")
    container = {"name": "c", "image": "i"}
    await client.create(PODS, {"metadata": {"name": "p"}, "spec": {"containers": [container]}}, "default")
    told = {"status": {"podIP": address, "podIPs": [{"ip": address}]}}
    await client.patch(PODS, "p", told, "default", type="merge", subresource="status")
    answer = await client.raw("GET", "/api/v1/namespaces/default/pods/p:80/proxy/latest/meta-data")
    assert answer.status == 400 and b"address not allowed" in answer.body
