"""The JSON gateway over a fake member, as clients of etcd's grpc-gateway use it."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest

from kvstore.api.gateway import Gateway
from kvstore.pb import rpc_pb2
from tests.kvstore.api.fake_member import CLUSTER_ID, MEMBER_ID, FakeServer


def b64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


class Http:
    """One HTTP/1.1 connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def send(self, path: str, body: bytes, method: str, headers: Mapping[str, str]) -> None:
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(body)}\r\n{lines}\r\n"
        self.writer.write(head.encode() + body)

    async def head(self) -> tuple[int, dict[str, str]]:
        lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
        return int(lines[0].split()[1]), headers

    async def ask(self, path: str, body: Any = None, method: str = "POST", **headers: str) -> tuple[int, Any]:
        """Return status and decoded body; a body that is not bytes is sent as JSON."""
        content = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        self.send(path, content, method, {name.replace("_", "-"): value for name, value in headers.items()})
        status, found = await self.head()
        if found.get("transfer-encoding") == "chunked":
            return status, [json.loads(line) for line in (await self.rest()).splitlines()]
        answer = await self.reader.readexactly(int(found["content-length"]))
        return status, json.loads(answer) if answer else None

    async def chunk(self) -> bytes:
        size = int(await self.reader.readline(), 16)
        data = await self.reader.readexactly(size)
        await self.reader.readline()
        return data

    async def rest(self) -> bytes:
        pieces = []
        while piece := await self.chunk():
            pieces.append(piece)
        return b"".join(pieces)


@pytest.fixture
async def server() -> AsyncIterator[FakeServer]:
    async with FakeServer() as made:
        yield made


@pytest.fixture
async def http(server: FakeServer) -> AsyncIterator[Http]:
    made = Http(*await asyncio.open_connection("127.0.0.1", server.server.port))
    yield made
    made.writer.close()


HEADER = {"cluster_id": str(CLUSTER_ID), "member_id": str(MEMBER_ID), "raft_term": "3"}


async def test_a_put_and_a_range_speak_base64_and_numbers_as_strings(http: Http) -> None:
    status, answer = await http.ask("/v3/kv/put", {"key": b64("a"), "value": b64("1")})
    assert (status, answer) == (200, {"header": {**HEADER, "revision": "2"}})
    status, answer = await http.ask("/v3/kv/range", {"key": b64("a")})
    pair = {"key": b64("a"), "create_revision": "2", "mod_revision": "2", "version": "1", "value": b64("1")}
    assert (status, answer) == (200, {"header": {**HEADER, "revision": "2"}, "kvs": [pair], "count": "1"})


async def test_the_beta_path_is_an_alias_and_alpha_is_unknown(http: Http) -> None:
    assert (await http.ask("/v3beta/kv/range", {"key": b64("a")}))[0] == 200
    assert (await http.ask("/v3alpha/kv/range", {"key": b64("a")}))[0] == 404


async def test_enums_are_taken_by_name_and_by_number_and_unknown_fields_are_passed_over(http: Http) -> None:
    for key in "ab":
        await http.ask("/v3/kv/put", {"key": b64(key)})
    for order in ("DESCEND", 2):
        body = {"key": b64("a"), "range_end": b64("c"), "sort_order": order, "limit": "1", "what": {"is": ["this"]}}
        answer = (await http.ask("/v3/kv/range", body))[1]
        assert (answer["kvs"][0]["key"], answer["more"], answer["count"]) == (b64("b"), True, "2")


async def test_a_transaction_as_etcd_documents_it(http: Http) -> None:
    await http.ask("/v3/kv/put", {"key": b64("foo"), "value": b64("bar")})
    body = {
        "compare": [{"createRevision": "2", "target": "CREATE", "key": b64("foo")}],
        "success": [{"requestPut": {"key": b64("foo"), "value": b64("bar2")}}],
    }
    status, answer = await http.ask("/v3/kv/txn", body)
    assert status == 200
    assert answer["succeeded"] is True
    assert answer["responses"] == [{"response_put": {"header": {"revision": "3"}}}]


async def test_errors_have_the_text_twice_and_the_code(http: Http) -> None:
    for path, body, status, code, text in (
        ("/v3/kv/put", {}, 400, 3, "etcdserver: key is not provided"),
        ("/v3/lease/revoke", {"ID": "7"}, 404, 5, "etcdserver: requested lease not found"),
        ("/v3/kv/compaction", {"revision": "99"}, 400, 11, "etcdserver: mvcc: required revision is a future revision"),
        ("/v3/election/leader", {"name": b64("x")}, 500, 2, "election: no leader"),
    ):
        assert await http.ask(path, body) == (status, {"error": text, "code": code, "message": text})


BAD = [
    b"{",
    b"[]",
    b'{"key": "*"}',
    b'{"key": "YQ="}',
    b'{"key": "YWJjZ"}',
    b'{"key": 5}',
    b'{"limit": "many"}',
    b'{"sort_order": "WHAT"}',
    b'{"sortOrder": "WHAT"}',
    b"\xff",
    b'"text"',
    b"[" * 100_000,
]


@pytest.mark.parametrize("body", BAD)
async def test_what_is_no_request_is_a_bad_one(http: Http, body: bytes) -> None:
    status, answer = await http.ask("/v3/kv/range", body)
    assert (status, answer["code"]) == (400, 3)
    assert answer["error"] == answer["message"]


async def test_other_methods_and_paths_are_refused(http: Http) -> None:
    assert (await http.ask("/v3/kv/range", method="GET"))[0] == 405
    status, answer = await http.ask("/v3/kv/nothing", {})
    assert (status, answer) == (404, {"error": "Not Found", "code": 5, "message": "Not Found"})


async def test_a_transaction_nested_too_deep_is_refused_and_one_in_reason_is_looked_into(http: Http) -> None:
    bad: dict[str, Any] = {"request_put": {"key": "*"}}
    for _ in range(3):
        bad = {"request_txn": {"success": [bad]}}
    assert "base64" in (await http.ask("/v3/kv/txn", {"success": [bad]}))[1]["message"]
    for _ in range(50):
        bad = {"request_txn": {"success": [bad]}}
    assert "too deep" in (await http.ask("/v3/kv/txn", {"success": [bad]}))[1]["message"]


async def test_both_alphabets_of_base64_are_taken_with_padding_and_without(http: Http) -> None:
    await http.ask("/v3/kv/put", {"key": "+/8="})
    for key in ("+/8=", "-_8=", "-_8"):
        assert (await http.ask("/v3/kv/range", {"key": key}))[1]["count"] == "1"


async def test_an_empty_body_is_an_empty_request(http: Http) -> None:
    status, answer = await http.ask("/v3/maintenance/status")
    assert (status, answer["header"]["member_id"]) == (200, str(MEMBER_ID))
    assert (await http.ask("/v3/lease/leases"))[0] == 200


async def test_a_watch_answers_a_line_for_each_message_as_it_happens(http: Http, server: FakeServer) -> None:
    other = Http(*await asyncio.open_connection("127.0.0.1", server.server.port))
    http.send("/v3/watch", json.dumps({"create_request": {"key": b64("foo")}}).encode(), "POST", {})
    status, _ = await http.head()
    assert status == 200
    created = json.loads(await http.chunk())
    assert created == {"result": {"header": {**HEADER, "revision": "1"}, "created": True}}
    await other.ask("/v3/kv/put", {"key": b64("foo"), "value": b64("bar")})
    event = json.loads(await http.chunk())["result"]["events"][0]
    assert event == {
        "kv": {"key": b64("foo"), "create_revision": "2", "mod_revision": "2", "version": "1", "value": b64("bar")}
    }
    await other.ask("/v3/kv/deleterange", {"key": b64("foo")})
    assert json.loads(await http.chunk())["result"]["events"] == [
        {"type": "DELETE", "kv": {"key": b64("foo"), "mod_revision": "3"}}
    ]
    other.writer.close()


async def test_a_watcher_that_leaves_is_forgotten(http: Http, server: FakeServer) -> None:
    other = Http(*await asyncio.open_connection("127.0.0.1", server.server.port))
    http.send("/v3/watch", json.dumps({"create_request": {"key": b64("foo")}}).encode(), "POST", {})
    await http.head()
    await http.chunk()
    assert server.services.hub.counts()[0] == 1
    http.writer.close()
    while server.services.hub.counts()[0]:
        await other.ask("/v3/maintenance/hash", {})  # a round trip
    other.writer.close()


async def test_a_renewal_of_a_lease_is_a_stream_of_one(http: Http) -> None:
    await http.ask("/v3/lease/grant", {"ID": 5, "TTL": 30})
    status, answer = await http.ask("/v3/lease/keepalive", {"ID": 5})
    assert (status, answer) == (200, [{"result": {"header": {**HEADER, "revision": "1"}, "ID": "5", "TTL": "30"}}])


async def test_a_snapshot_arrives_in_lines(http: Http) -> None:
    await http.ask("/v3/kv/put", {"key": b64("a"), "value": b64("1")})
    status, lines = await http.ask("/v3/maintenance/snapshot", {})
    blobs = [base64.b64decode(line["result"]["blob"]) for line in lines]
    assert status == 200
    assert len(blobs[-1]) == 32
    assert int(lines[0]["result"].get("remaining_bytes", "0")) + len(blobs[0]) == sum(map(len, blobs[:-1]))


async def test_a_lock_that_is_waited_for_is_left_when_the_client_leaves(http: Http, server: FakeServer) -> None:
    held = (await http.ask("/v3/lock/lock", {"name": b64("door")}))[1]["key"]
    other = Http(*await asyncio.open_connection("127.0.0.1", server.server.port))
    other.send("/v3/lock/lock", json.dumps({"name": b64("door")}).encode(), "POST", {})
    everything = {"key": b64("door/"), "range_end": b64("door0"), "count_only": True}

    async def queued() -> str:
        return str((await http.ask("/v3/kv/range", everything))[1]["count"])

    while await queued() != "2":
        pass
    other.writer.close()
    while await queued() != "1":
        pass
    assert (await http.ask("/v3/kv/range", {"key": held}))[1]["count"] == "1"


async def test_metadata_headers_reach_the_handlers(http: Http, server: FakeServer) -> None:
    server.member.elect(0)
    status, answer = await http.ask("/v3/kv/range", {"key": b64("a"), "serializable": True}, Grpc_Metadata_hasleader="true")
    assert (status, answer["code"], answer["message"]) == (503, 14, "etcdserver: no leader")
    assert (await http.ask("/v3/kv/range", {"key": b64("a"), "serializable": True}))[0] == 200


async def test_a_timeout_header_ends_a_call_that_waits(http: Http) -> None:
    await http.ask("/v3/lock/lock", {"name": b64("door")})
    status, answer = await http.ask("/v3/lock/lock", {"name": b64("door")}, Grpc_Timeout="1m")
    assert (status, answer["code"]) == (504, 4)


async def test_with_auth_on_a_token_in_the_authorization_header_opens_what_its_user_may_touch(http: Http) -> None:
    for path, body in (
        ("user/add", {"name": "root", "password": "r"}),
        ("role/add", {"name": "root"}),
        ("user/grant", {"user": "root", "role": "root"}),
        ("user/add", {"name": "ann", "password": "a"}),
        ("role/add", {"name": "doors"}),
        ("role/grant", {"name": "doors", "perm": {"permType": 2, "key": b64("door/"), "range_end": b64("door0")}}),
        ("user/grant", {"user": "ann", "role": "doors"}),
        ("enable", {}),
    ):
        assert (await http.ask(f"/v3/auth/{path}", body))[0] == 200, path
    status, answer = await http.ask("/v3/kv/range", {"key": b64("a")})
    assert (status, answer["message"]) == (400, "etcdserver: user name is empty")
    token = (await http.ask("/v3/auth/authenticate", {"name": "ann", "password": "a"}))[1]["token"]
    assert (await http.ask("/v3/kv/put", {"key": b64("door/1")}, Authorization=token))[0] == 200
    assert (await http.ask("/v3/kv/deleterange", {"key": b64("door/1")}, Authorization=token))[0] == 200
    assert (await http.ask("/v3/kv/put", {"key": b64("a")}, Authorization=token))[0] == 403
    assert (await http.ask("/v3/maintenance/snapshot", {}, Authorization=token))[0] == 403
    locked = (await http.ask("/v3/lock/lock", {"name": b64("door")}, Authorization=token))[1]
    assert base64.b64decode(locked["key"]).startswith(b"door/")
    status, answer = await http.ask("/v3/lock/lock", {"name": b64("window")}, Authorization=token)
    assert (status, answer["code"], answer["message"]) == (500, 2, "etcdserver: permission denied")
    assert (await http.ask("/v3/lock/lock", {"name": b64("door")}))[1]["message"] == "etcdserver: user name is empty"


def test_every_rpc_of_etcd_but_the_newest_stream_has_a_path() -> None:
    served = {method.path for method in Gateway({})._methods.values()}
    for service in rpc_pb2.DESCRIPTOR.services_by_name.values():
        for method in service.methods:
            path = f"/{service.full_name}/{method.name}"
            assert path in served or method.name == "RangeStream", path
