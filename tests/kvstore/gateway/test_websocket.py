"""WebSockets on the JSON gateway, and curl on its streams: what etcd 3.5 answers, we answer."""

import asyncio
import base64
import json
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from kvstore.api import VisitorRules
from kvstore.api.gateway_json import MAX_PIECES, RequestStream
from kvstore.pb import rpc_pb2
from kvstore.rpc import Server
from tests.kvstore.api.fake_member import FakeServer
from tests.kvstore.api.processes import ROOT, running_etcd

ETCD_35 = ROOT / ".venv/tools/etcd-3.5"
CURL = shutil.which("curl")
ANSWER_SECONDS = 10.0
needs_curl = pytest.mark.skipif(CURL is None, reason="curl is not installed")


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WATCH = {"create_request": {"key": b64("foo")}}
CREATED = {"result": {"created": True}}


@pytest.fixture
async def ours() -> AsyncIterator[FakeServer]:
    async with FakeServer() as made:
        yield made


@pytest.fixture(scope="module")
def etcd_address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    if not ETCD_35.exists():
        pytest.skip("etcd 3.5 is not there (make tools)")
    with running_etcd(tmp_path_factory.mktemp("etcd"), program=str(ETCD_35)) as address:
        yield address


@pytest.fixture(params=["ours", "etcd"])
def address(request: pytest.FixtureRequest) -> str:
    """A store that speaks JSON."""
    if request.param == "ours":
        return f"127.0.0.1:{request.getfixturevalue('ours').server.port}"
    return str(request.getfixturevalue("etcd_address"))


def opened(address: str, path: str, **options: Any) -> connect:
    return connect(f"ws://{address}{path}", proxy=None, **options)


async def say(socket: ClientConnection, *messages: Any) -> None:
    for message in messages:
        await socket.send(message if isinstance(message, str | bytes) else json.dumps(message))


async def hear(socket: ClientConnection) -> dict[str, Any]:
    """The next message without what differs from server to server and from run to run."""
    async with asyncio.timeout(ANSWER_SECONDS):
        found: dict[str, Any] = json.loads(await socket.recv())
    found.get("result", {}).pop("header", None)
    for event in found.get("result", {}).get("events", []):
        event["kv"] = {name: text for name, text in event["kv"].items() if name in ("key", "value")}
    return found


async def post(address: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    host, _, port = address.partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    content = json.dumps(body).encode()
    writer.write(f"POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {len(content)}\r\n\r\n".encode())
    writer.write(content)
    answer = await reader.read()
    writer.close()
    found: dict[str, Any] = json.loads(answer.partition(b"\r\n\r\n")[2])
    return found


async def test_a_watch_is_a_conversation(address: str) -> None:
    async with opened(address, "/v3/watch") as socket:
        await say(socket, WATCH)
        assert await hear(socket) == CREATED
        await post(address, "/v3/kv/put", {"key": b64("foo"), "value": b64("bar")})
        assert await hear(socket) == {"result": {"events": [{"kv": {"key": b64("foo"), "value": b64("bar")}}]}}
        await say(socket, {"progress_request": {}})
        assert await hear(socket) == {"result": {"watch_id": "-1"}}
        await say(socket, json.dumps(WATCH).encode())  # a binary message
        assert await hear(socket) == {"result": {"watch_id": "1", "created": True}}
        await say(socket, {"cancel_request": {"watch_id": "1"}})
        assert await hear(socket) == {"result": {"watch_id": "1", "canceled": True}}


async def test_a_lease_is_renewed_again_and_again(address: str) -> None:
    lease = (await post(address, "/v3/lease/grant", {"TTL": 60}))["ID"]
    async with opened(address, "/v3/lease/keepalive") as socket:
        for _ in range(3):
            await say(socket, {"ID": lease})
            assert await hear(socket) == {"result": {"ID": lease, "TTL": "60"}}
        await say(socket, {"ID": "1"})
        assert await hear(socket) == {"result": {"ID": "1"}}


async def test_messages_and_requests_need_not_be_the_same(address: str) -> None:
    text = json.dumps(WATCH)
    middle = text.index(":") + 1
    async with opened(address, "/v3/watch") as socket:
        await say(socket, text + text + text[:middle], text[middle:])
        for number in range(3):
            identity = {"watch_id": str(number)} if number else {}
            assert await hear(socket) == {"result": {**identity, "created": True}}


async def test_a_first_message_that_is_no_request_is_told_so_and_a_later_one_only_ends_the_requests(address: str) -> None:
    for nonsense in ("{nope", '{"create_request": {"key": "*"}}'):
        async with opened(address, "/v3/watch") as socket:
            await say(socket, nonsense)
            refusal = await hear(socket)
            assert (refusal["code"], refusal["error"]) == (2, refusal["message"])
            with pytest.raises(ConnectionClosed):
                await socket.recv()
    async with opened(address, "/v3/watch") as socket:
        await say(socket, WATCH)
        assert await hear(socket) == CREATED
        await say(socket, "{nope", WATCH)
        await post(address, "/v3/kv/put", {"key": b64("foo"), "value": b64("still")})
        assert await hear(socket) == {"result": {"events": [{"kv": {"key": b64("foo"), "value": b64("still")}}]}}


async def test_a_token_may_come_as_a_subprotocol(address: str) -> None:
    async with opened(address, "/v3/watch", subprotocols=["Bearer", "abc"]) as socket:
        assert socket.subprotocol == "Bearer"


@needs_curl
async def test_curl_follows_a_watch_line_by_line_and_renews_two_leases_on_one_connection(address: str) -> None:
    base = f"http://{address}/v3"
    watch = await asyncio.create_subprocess_exec(
        "curl", "-sN", f"{base}/watch", "-d", json.dumps(WATCH), stdout=asyncio.subprocess.PIPE
    )
    assert watch.stdout is not None
    try:
        assert json.loads(await watch.stdout.readline())["result"]["created"] is True
        for value in ("1", "2"):
            await post(address, "/v3/kv/put", {"key": b64("foo"), "value": b64(value)})
            events = json.loads(await watch.stdout.readline())["result"]["events"]
            assert [event["kv"]["value"] for event in events] == [b64(value)]
    finally:
        watch.kill()
        await watch.communicate()
    lease = (await post(address, "/v3/lease/grant", {"TTL": 60}))["ID"]
    url, body = f"{base}/lease/keepalive", json.dumps({"ID": lease})
    renewals = await asyncio.create_subprocess_exec(
        "curl", "-sv", url, url, "-d", body, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, words = await renewals.communicate()
    assert [json.loads(line)["result"]["TTL"] for line in output.splitlines()] == ["60", "60"]
    assert words.count(b"* Connected to") == 1


# ---- ours alone ---------------------------------------------------------------------------------------------------------


async def test_a_watcher_that_leaves_is_forgotten(ours: FakeServer) -> None:
    address = f"127.0.0.1:{ours.server.port}"
    for leave in ("close", "abort"):
        async with opened(address, "/v3/watch") as socket:
            await say(socket, WATCH)
            await hear(socket)
            assert ours.services.hub.counts()[0] == 1
            if leave == "abort":
                socket.transport.abort()
        while ours.services.hub.counts()[0]:
            await post(address, "/v3/maintenance/hash", {})  # a round trip


async def test_a_method_that_takes_one_request_answers_it_and_closes(ours: FakeServer) -> None:
    async with opened(f"127.0.0.1:{ours.server.port}", "/v3/kv/put") as socket:
        await say(socket, {"key": b64("a"), "value": b64("1")})
        assert "header" in json.loads(await socket.recv())
        with pytest.raises(ConnectionClosed):
            await socket.recv()
    assert socket.close_code == 1000


async def test_a_token_of_a_subprotocol_or_a_cookie_opens_what_its_user_may_see(ours: FakeServer) -> None:
    address = f"127.0.0.1:{ours.server.port}"
    for path, body in (
        ("user/add", {"name": "root", "password": "r"}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("enable", {}),
    ):
        await post(address, f"/v3/auth/{path}", body)
    token = (await post(address, "/v3/auth/authenticate", {"name": "root", "password": "r"}))["token"]
    for options in ({"subprotocols": ["Bearer", token]}, {"additional_headers": {"Cookie": f"a=b; token={token}"}}):
        async with opened(address, "/v3/watch", **options) as socket:
            await say(socket, WATCH)
            assert await hear(socket) == CREATED
    async with opened(address, "/v3/watch") as socket:
        await say(socket, WATCH)
        assert "user name is empty" in (await hear(socket))["result"]["cancel_reason"]


async def test_a_page_from_elsewhere_opens_nothing_where_origins_are_given(ours: FakeServer) -> None:
    rules = VisitorRules(origins=frozenset({"https://ours.example"}))
    server = Server({}, http1=rules.over(ours.services.http))
    await server.start("127.0.0.1", 0)
    address = f"127.0.0.1:{server.port}"
    try:
        async with opened(address, "/v3/watch", origin="https://ours.example"):
            pass
        async with opened(address, "/v3/watch"):  # no browser
            pass
        with pytest.raises(InvalidStatus) as refused:
            await opened(address, "/v3/watch", origin="https://evil.example")
        assert refused.value.response.status_code == 403
    finally:
        await server.stop()


async def test_other_paths_and_other_upgrades_are_answered_as_if_none_was_asked_for(ours: FakeServer) -> None:
    address = f"127.0.0.1:{ours.server.port}"
    for path, status in (("/v3/nothing", 404), ("/health", 200)):
        with pytest.raises(InvalidStatus) as refused:
            await opened(address, path)
        assert refused.value.response.status_code == status


async def test_frames_that_break_the_protocol_end_the_connection(ours: FakeServer) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", ours.server.port)
    writer.write(
        b"GET /v3/watch HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        b"sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        b"\x81\x02{}"  # not masked, and at once behind the request
    )
    async with asyncio.timeout(ANSWER_SECONDS):
        answer = await reader.read()
    assert answer.startswith(b"HTTP/1.1 101 ")
    assert answer.partition(b"\r\n\r\n")[2][:4] == b"\x88" + answer.partition(b"\r\n\r\n")[2][1:2] + b"\x03\xea"  # 1002
    writer.close()


async def test_the_end_of_the_server_is_said(ours: FakeServer) -> None:
    server = Server({}, http1=ours.services.http)
    await server.start("127.0.0.1", 0)
    async with opened(f"127.0.0.1:{server.port}", "/v3/watch") as socket:
        await say(socket, WATCH)
        await hear(socket)
        await server.stop(1.0)
        with pytest.raises(ConnectionClosed):
            await socket.recv()
        assert socket.close_code == 1001


def test_requests_in_pieces_are_found_whole_and_endless_ones_refused() -> None:
    stream = RequestStream(rpc_pb2.WatchRequest)
    assert stream.feed(b"") == []
    assert stream.feed(b'{"progress_request":') == []
    assert len(stream.feed(b'{}} {"progress_request": {}} {')) == 2
    assert len(stream.feed(b"}")) == 1
    with pytest.raises(ValueError, match="too many pieces"):
        for _ in range(MAX_PIECES + 1):
            stream.feed(b'{"create_request":' if _ == 0 else b"")
