"""Requests of every kind against a real etcd."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from kvstore.client import (
    Client,
    Compacted,
    EtcdError,
    FutureRevision,
    LeaseNotFound,
    Unavailable,
    errors,
    ops,
    prefix_end,
)
from kvstore.pb import kv_pb2, rpc_pb2
from tests.kvstore.client.conftest import ADDRESS, EtcdProcess, free_ports


async def test_what_is_put_is_read_ranged_and_deleted(client: Client, prefix: bytes) -> None:
    for index in range(5):
        await client.put(prefix + b"%d" % index, b"value %d" % index)
    kv = await client.get(prefix + b"3")
    assert kv is not None
    assert (kv.value, kv.version) == (b"value 3", 1)
    page = await client.range(prefix, prefix_end(prefix), limit=2)
    assert ([kv.key for kv in page.kvs], page.more, page.count) == ([prefix + b"0", prefix + b"1"], True, 5)
    newest = await client.range(
        prefix, prefix_end(prefix), sort_order=rpc_pb2.RangeRequest.DESCEND, sort_target=rpc_pb2.RangeRequest.MOD, keys_only=True
    )
    assert (newest.kvs[0].key, newest.kvs[0].value) == (prefix + b"4", b"")
    deleted = await client.delete(prefix, prefix_end(prefix), prev_kv=True)
    assert (deleted.deleted, len(deleted.prev_kvs)) == (5, 5)
    assert await client.get(prefix + b"3") is None


async def test_put_returns_the_previous_value_and_can_keep_it(client: Client, prefix: bytes) -> None:
    await client.put(prefix, b"one")
    assert (await client.put(prefix, b"two", prev_kv=True)).prev_kv.value == b"one"
    await client.put(prefix, b"", ignore_value=True)
    kv = await client.get(prefix)
    assert kv is not None
    assert (kv.value, kv.version) == (b"two", 3)


async def test_a_transaction_takes_the_branch_that_its_comparisons_choose(client: Client, prefix: bytes) -> None:
    created = await client.txn([ops.create_revision(prefix) == 0], [ops.put(prefix, b"1")], [ops.range_(prefix)])
    assert created.succeeded
    revision = created.header.revision
    other = await client.txn([ops.mod_revision(prefix) == revision + 1], [ops.delete(prefix)], [ops.range_(prefix)])
    assert not other.succeeded
    assert other.responses[0].response_range.kvs[0].value == b"1"
    nested = await client.txn(
        [ops.value(prefix) == b"1", ops.version(prefix) > 0, ops.version(prefix) < 2, ops.lease(prefix) != 5],
        [ops.txn([ops.value(prefix) != b"9"], [ops.put(prefix, b"2")])],
    )
    assert nested.succeeded
    kv = await client.get(prefix)
    assert kv is not None
    assert kv.value == b"2"


async def test_old_revisions_are_read_and_future_ones_refused(client: Client, prefix: bytes) -> None:
    first = await client.put(prefix, b"old")
    await client.put(prefix, b"new")
    kv = await client.get(prefix, revision=first.header.revision)
    assert kv is not None
    assert kv.value == b"old"
    with pytest.raises(FutureRevision):
        await client.get(prefix, revision=first.header.revision + 1_000_000)


async def test_compacted_revisions_are_refused_with_their_type(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        for _ in range(5):
            last = await client.put(b"key", b"value")
        await client.compact(last.header.revision, physical=True)
        with pytest.raises(Compacted):
            await client.get(b"key", revision=2)
        with pytest.raises(Compacted):
            await client.compact(2)


ERRORS: list[tuple[type[EtcdError], Callable[[Client, bytes], Awaitable[object]]]] = [
    (errors.InvalidRequest, lambda client, key: client.put(b"", b"value")),
    (errors.KeyNotFound, lambda client, key: client.put(key, b"", ignore_value=True)),
    (LeaseNotFound, lambda client, key: client.put(key, b"", lease=12345)),
    (errors.RequestTooLarge, lambda client, key: client.put(key, b"x" * 1_600_000)),
    (errors.ResourceExhausted, lambda client, key: client.put(key, b"x" * 3_000_000)),
    (errors.InvalidRequest, lambda client, key: client.txn([], [ops.put(key, b"1"), ops.put(key, b"2")])),
    (LeaseNotFound, lambda client, key: client.lease_revoke(54321)),
    (LeaseNotFound, lambda client, key: client.lease_keep_alive(54321)),
    (errors.OutOfRange, lambda client, key: client.lease_grant(10_000_000_000)),
    (
        errors.Unimplemented,
        lambda client, key: client.request("/etcdserverpb.KV/None", rpc_pb2.PutRequest(), rpc_pb2.PutResponse),
    ),
]


@pytest.mark.parametrize("index", range(len(ERRORS)))
async def test_etcds_texts_become_types(client: Client, prefix: bytes, index: int) -> None:
    kind, request = ERRORS[index]
    with pytest.raises(EtcdError) as caught:
        await request(client, prefix)
    assert type(caught.value) is kind


async def test_large_answers_arrive_whole(client: Client, prefix: bytes) -> None:
    for index in range(8):
        await client.put(prefix + b"%d" % index, bytes([index]) * 1_000_000)
    answer = await client.range(prefix, prefix_end(prefix))
    assert [len(kv.value) for kv in answer.kvs] == [1_000_000] * 8


async def test_thousands_of_calls_are_in_flight_at_once(client: Client, prefix: bytes) -> None:
    await asyncio.gather(*(client.put(prefix + b"%d" % index, b"%d" % index) for index in range(3_000)))
    answer = await client.range(prefix, prefix_end(prefix), count_only=True)
    assert answer.count == 3_000


async def test_status_and_members_are_read(client: Client, shared_etcd: EtcdProcess) -> None:
    assert (await client.status()).version.startswith("3.")
    assert (await client.status(shared_etcd.endpoint)).leader
    assert len((await client.member_list()).members) == 1
    with pytest.raises(KeyError):
        await client.status("127.0.0.1:1")


async def test_a_dead_endpoint_is_passed_over(shared_etcd: EtcdProcess, prefix: bytes) -> None:
    dead = [f"{ADDRESS}:{port}" for port in free_ports(2)]
    async with Client([*dead, shared_etcd.endpoint]) as client:
        await client.put(prefix, b"written")  # a write too: it certainly never left
        kv = await client.get(prefix)
        assert kv is not None


async def test_without_any_endpoint_a_call_is_unavailable_in_time() -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    async with Client([f"{ADDRESS}:{free_ports(1)[0]}"]) as client:
        with pytest.raises(Unavailable) as caught:
            await client.get(b"key", timeout_seconds=0.3)
    assert not caught.value.sent
    assert loop.time() - started < 2.0


async def test_a_client_outlives_the_restart_of_its_server(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as client:
        await client.put(b"key", b"value")
        own_etcd.stop()
        own_etcd.start()
        kv = await client.get(b"key")
        assert kv is not None
        assert kv.value == b"value"


async def test_users_authenticate_and_expired_tokens_are_replaced(own_etcd: EtcdProcess) -> None:
    async with Client([own_etcd.endpoint]) as admin:
        for path, message, answer in (
            ("UserAdd", rpc_pb2.AuthUserAddRequest(name="root", password="secret"), rpc_pb2.AuthUserAddResponse),
            ("RoleAdd", rpc_pb2.AuthRoleAddRequest(name="root"), rpc_pb2.AuthRoleAddResponse),
            ("UserGrantRole", rpc_pb2.AuthUserGrantRoleRequest(user="root", role="root"), rpc_pb2.AuthUserGrantRoleResponse),
            ("AuthEnable", rpc_pb2.AuthEnableRequest(), rpc_pb2.AuthEnableResponse),
        ):
            await admin.request(f"/etcdserverpb.Auth/{path}", message, answer)
    async with Client([own_etcd.endpoint], user="root", password="wrong") as client:
        with pytest.raises(errors.AuthenticationFailed):
            await client.get(b"key")
    async with Client([own_etcd.endpoint], user="root", password="secret") as client:
        await asyncio.gather(*(client.put(b"key", b"value") for _ in range(5)))
        own_etcd.stop()
        own_etcd.start()  # simple tokens do not survive a restart
        await own_etcd_serves(client)
        watch = client.watch(b"key", start_revision=1)
        batch = await anext(watch)
        assert batch.events[0].type == kv_pb2.Event.PUT


async def own_etcd_serves(client: Client) -> None:
    kv = await client.get(b"key")
    assert kv is not None
