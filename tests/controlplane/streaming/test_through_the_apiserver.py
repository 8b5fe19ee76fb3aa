"""A client, an API server, a kubelet and a process: who may, what is passed on, what is refused."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from typing import Any

import pytest
from websockets.exceptions import InvalidStatus

from controlplane.kubelet.streaming.connection import RawBytes, SpdyConnection
from controlplane.kubelet.streaming.spdy import Codec, Data, Ping, SynReply, SynStream
from controlplane.objects.kinds import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, PODS, SERVICE_ACCOUNTS
from tests.controlplane.apiserver.conftest import Api
from tests.controlplane.apiserver.pki import Authority
from tests.controlplane.streaming.conftest import KEY, POD_PATH, Node, User, all_messages
from tests.controlplane.streaming.test_sessions import Browser

ECHO = f"{POD_PATH}/exec?command=echo&command=hello+there&stdout=true&stderr=true"
SERVE = (
    "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True)\n"
    "while True:\n    c, _ = s.accept(); c.sendall(c.recv(99).upper()); c.close()"
)
TUNNEL = "SPDY/3.1+portforward.k8s.io"


def status_of(messages: list[bytes]) -> dict[str, Any]:
    (found,) = [json.loads(message[1:]) for message in messages if message[0] == 3]
    return dict(found)


@pytest.mark.parametrize("protocol", ["v5.channel.k8s.io", "v4.channel.k8s.io"])
async def test_a_command_runs_in_the_pod(api: Api, node: Node, admin: User, protocol: str) -> None:
    await node.start("sleep", "60")
    async with admin.connect(api.server, ECHO, "v9.channel.k8s.io", protocol) as socket:
        assert socket.subprotocol == protocol
        messages = await all_messages(socket)
    assert b"\x01hello there\n" in messages and status_of(messages)["status"] == "Success"


async def test_a_server_that_stops_ends_its_streams(api: Api, node: Node, admin: User) -> None:
    await node.start("sleep", "60")
    async with admin.connect(api.server, f"{POD_PATH}/exec?command=sleep&command=50&stdout=1") as socket:
        assert await socket.recv() == b"\x01"
        api.stop()
        async with asyncio.timeout(5):
            await socket.wait_closed()


async def test_an_attached_client_hears_the_container(api: Api, node: Node, admin: User) -> None:
    await node.start("sh", "-c", "read x; echo got $x", stdin=True)
    path = f"{POD_PATH}/attach?stdin=true&stdout=true&container=c"
    async with admin.connect(api.server, path, "v5.channel.k8s.io") as socket:
        await socket.send(b"\x00word\n")
        messages = await all_messages(socket)
    assert b"\x01got word\n" in messages and status_of(messages)["status"] == "Success"


async def _granted(api: Api, verbs: list[str]) -> None:
    client = api.client()
    rules = [{"apiGroups": [""], "resources": ["pods/exec"], "verbs": verbs}]
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "r"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    subjects = [{"kind": "ServiceAccount", "name": "default", "namespace": "default"}]
    subjects.append({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"})
    await client.create(CLUSTER_ROLE_BINDINGS, {"metadata": {"name": "r"}, "roleRef": reference, "subjects": subjects})


@pytest.mark.parametrize(("verbs", "code"), [([], 403), (["get"], 403), (["create"], 403), (["get", "create"], 101)])
async def test_reading_a_pod_is_not_enough_to_run_commands_in_it(
    api: Api, node: Node, authority: Authority, verbs: list[str], code: int
) -> None:
    await node.start("sleep", "60")
    await _granted(api, verbs or ["list"])
    ann = User(authority, "ann")
    if code == 101:
        async with as_user(ann, api) as socket:
            assert status_of(await all_messages(socket))["status"] == "Success"
        return
    with pytest.raises(InvalidStatus) as caught:
        async with as_user(ann, api):
            pass
    assert caught.value.response.status_code == code
    assert b"cannot" in (caught.value.response.body or b"")


def as_user(user: User, api: Api) -> Any:
    return user.connect(api.server, ECHO, "v5.channel.k8s.io")


async def test_a_browser_brings_its_token_as_a_subprotocol_and_the_kubelet_does_not_see_it(
    api: Api, node: Node, authority: Authority
) -> None:
    await node.start("sleep", "60")
    await _granted(api, ["get", "create"])
    body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
    made = await api.client().create(SERVICE_ACCOUNTS, body, "default", subresource="token", name="default")
    token = base64.urlsafe_b64encode(made["status"]["token"].encode()).decode().rstrip("=")
    bearer = f"base64url.bearer.authorization.k8s.io.{token}"
    async with User(authority).connect(api.server, ECHO, bearer, "v4.channel.k8s.io") as socket:
        assert socket.subprotocol == "v4.channel.k8s.io"
        assert b"\x01hello there\n" in await all_messages(socket)
    for wrong in ("", "base64url.bearer.authorization.k8s.io.AAAA"):
        with pytest.raises(InvalidStatus) as caught:
            async with User(authority).connect(api.server, ECHO, *filter(None, [wrong]), "v4.channel.k8s.io"):
                pass
        assert caught.value.response.status_code == 401


@pytest.mark.parametrize(
    ("path", "code", "text"),
    [
        (f"{POD_PATH}/exec?command=ls&container=x", 400, "container x is not valid for pod p"),
        (f"{POD_PATH}/exec?stdout=1", 400, "you must specify at least one command"),
        (f"{POD_PATH}/exec?command=ls", 500, "container not found"),
        ("/api/v1/namespaces/default/pods/q/exec?command=ls", 404, 'pods \\"q\\" not found'),
        (f"{POD_PATH}/portforward?ports=x", 400, "not a list of ports"),
        (f"{POD_PATH}/portforward", 400, "is required"),
    ],
)
async def test_what_cannot_be_served_is_a_status_before_the_upgrade(
    api: Api, admin: User, path: str, code: int, text: str
) -> None:
    with pytest.raises(InvalidStatus) as caught:
        async with admin.connect(api.server, path, "v4.channel.k8s.io"):
            pass
    assert caught.value.response.status_code == code
    assert text in (caught.value.response.body or b"").decode()


async def test_without_an_upgrade_and_for_unknown_protocols_there_is_no_stream(
    api: Api, node: Node, admin: User
) -> None:
    await node.start("sleep", "60")
    answer = await api.client().raw("GET", ECHO)
    assert answer.status == 400 and b"Upgrade request required" in answer.body
    head, (_, writer) = await admin.ask(api.server, "GET", ECHO, connection="Upgrade", upgrade="h2c")
    assert head.startswith(b"HTTP/1.1 400")
    writer.transport.abort()


async def test_a_completed_pod_takes_no_commands(api: Api, admin: User) -> None:
    client = api.client()
    await client.patch(PODS, "p", {"status": {"phase": "Succeeded"}}, "default", type="merge", subresource="status")
    with pytest.raises(InvalidStatus) as caught:
        async with admin.connect(api.server, ECHO, "v5.channel.k8s.io"):
            pass
    assert b"completed pod" in (caught.value.response.body or b"")


async def test_spdy_is_passed_through_as_well(api: Api, node: Node, admin: User) -> None:
    await node.start("sleep", "60")
    head, (reader, writer) = await admin.ask(
        api.server,
        "POST",
        ECHO,
        connection="Upgrade",
        upgrade="SPDY/3.1",
        X_Stream_Protocol_Version="v9.channel.k8s.io, v4.channel.k8s.io",
        content_length="0",
    )
    assert head.startswith(b"HTTP/1.1 101") and b"X-Stream-Protocol-Version: v4.channel.k8s.io" in head
    connection = SpdyConnection(RawBytes(reader, writer))
    for number, kind in ((1, "error"), (3, "stdout"), (5, "stderr")):
        await connection.send(SynStream(number, {"streamtype": kind}))
    heard = []
    while (frame := await connection.receive()) is not None:
        heard.append(frame)
    assert heard[:3] == [SynReply(1), SynReply(3), SynReply(5)]
    assert Data(3, b"hello there\n") in heard
    writer.transport.abort()


async def test_a_client_that_pings_and_reads_late_gets_every_byte(api: Api, node: Node, admin: User) -> None:
    await node.start("sleep", "60")
    path = f"{POD_PATH}/exec?command=head&command=-c&command=3000000&command=/dev/zero&stdout=true"
    version = "v4.channel.k8s.io"
    upgrade = {"connection": "Upgrade", "upgrade": "SPDY/3.1", "X_Stream_Protocol_Version": version}
    _, (reader, writer) = await admin.ask(api.server, "POST", path, **upgrade, content_length="0")
    connection = SpdyConnection(RawBytes(reader, writer))
    for number, kind in ((1, "error"), (3, "stdout")):
        await connection.send(SynStream(number, {"streamtype": kind}))
    size = 0
    while (frame := await connection.receive()) is not None:
        await connection.send(Ping(1))
        size += len(frame.data) if isinstance(frame, Data) and frame.stream == 3 else 0
    assert size == 3_000_000
    writer.transport.abort()


async def _port(node: Node) -> int:
    await node.start(sys.executable, "-c", SERVE)
    listening = node.runtime.attach(KEY, stdin=False)
    port = int(await listening.read("stdout"))
    await listening.close()
    return port


async def test_ports_are_forwarded_over_channels_and_over_tunnelled_spdy(api: Api, node: Node, admin: User) -> None:
    port = await _port(node)
    low = port.to_bytes(2, "little")
    async with admin.connect(api.server, f"{POD_PATH}/portforward?ports={port}", "v4.channel.k8s.io") as socket:
        assert {await socket.recv(), await socket.recv()} == {b"\x00" + low, b"\x01" + low}
        await socket.send(b"\x00hello")
        assert await socket.recv() == b"\x00HELLO"
    upgrade = {"connection": "Upgrade", "upgrade": "websocket", "Sec_WebSocket_Version": "13"}
    upgrade |= {"Sec_WebSocket_Key": "AAAAAAAAAAAAAAAAAAAAAA==", "Sec_WebSocket_Protocol": TUNNEL}
    head, pipes = await admin.ask(api.server, "GET", f"{POD_PATH}/portforward", **upgrade)
    assert head.startswith(b"HTTP/1.1 101") and f"Sec-WebSocket-Protocol: {TUNNEL}\r\n".encode() in head
    browser, codec = Browser(pipes), Codec()
    for number, kind in ((1, "error"), (3, "data")):
        headers = {"streamtype": kind, "port": str(port), "requestid": "0"}
        await browser.send(codec.encode(SynStream(number, headers)))
    await browser.send(codec.encode(Data(3, b"again")))
    decoder, heard = Codec(), list[Any]()
    while Data(1, b"", fin=True) not in heard:
        heard.extend(decoder.feed(await browser.read_one()))
    pipes[1].transport.abort()
    assert heard[:2] == [SynReply(1), SynReply(3)] and Data(3, b"AGAIN") in heard


async def test_only_the_api_server_may_use_a_nodes_streams(node: Node, authority: Authority) -> None:
    await node.start("sleep", "60")
    path, server = "/exec/default/p/c?command=ls&output=1", f"https://127.0.0.1:{node.port}"
    for user, code in ((User(authority), 401), (User(authority, "ann"), 403)):
        with pytest.raises(InvalidStatus) as caught:
            async with user.connect(server, path, "v5.channel.k8s.io"):
                pass
        assert caught.value.response.status_code == code


async def test_a_nodes_proxy_runs_no_commands_for_readers(api: Api, node: Node, authority: Authority) -> None:
    await node.start("sleep", "60")
    client = api.client()
    rules = [{"apiGroups": [""], "resources": ["nodes/proxy"], "verbs": ["get"]}]
    await client.create(CLUSTER_ROLES, {"metadata": {"name": "r"}, "rules": rules})
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "r"}
    subjects = [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}]
    await client.create(CLUSTER_ROLE_BINDINGS, {"metadata": {"name": "r"}, "roleRef": reference, "subjects": subjects})
    with pytest.raises(InvalidStatus) as caught:
        path = "/api/v1/nodes/n/proxy/exec/default/p/c?command=ls&output=1"
        async with User(authority, "ann").connect(api.server, path, "v5.channel.k8s.io"):
            pass
    assert caught.value.response.status_code == 403
