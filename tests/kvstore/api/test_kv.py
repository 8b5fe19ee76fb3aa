"""KV over a real socket."""

import pytest

from kvstore.api import ApiLimits
from kvstore.mvcc import layout
from kvstore.pb import rpc_pb2 as rpc
from kvstore.rpc import Code, RpcError
from kvstore.storage.memory import MemoryStore
from tests.kvstore.api.calls import call
from tests.kvstore.api.fake_member import CLUSTER_ID, MEMBER_ID, FakeServer


async def refused(server: FakeServer, method: str, request: object) -> tuple[int, str]:
    with pytest.raises(RpcError) as caught:
        await call(server.channel, method, request)  # type: ignore[arg-type]
    return caught.value.code, caught.value.text


async def test_a_put_is_read_back_with_its_revision(served: FakeServer) -> None:
    put = await call(served.channel, "KV/Put", rpc.PutRequest(key=b"a", value=b"1"))
    assert put.header == rpc.ResponseHeader(cluster_id=CLUSTER_ID, member_id=MEMBER_ID, revision=2, raft_term=3)
    found = await call(served.channel, "KV/Range", rpc.RangeRequest(key=b"a"))
    assert found.header == put.header
    assert found.count == 1
    (pair,) = found.kvs
    assert (pair.key, pair.value, pair.create_revision, pair.mod_revision, pair.version) == (b"a", b"1", 2, 2, 1)


@pytest.mark.parametrize("serializable", [False, True])
async def test_a_missing_key_is_an_empty_answer(served: FakeServer, serializable: bool) -> None:
    found = await call(served.channel, "KV/Range", rpc.RangeRequest(key=b"a", serializable=serializable))
    assert (found.count, len(found.kvs), found.header.revision) == (0, 0, 1)


async def test_a_page_says_how_many_keys_there_are_and_that_more_follow(served: FakeServer) -> None:
    for key in (b"p/1", b"p/2", b"p/3"):
        await call(served.channel, "KV/Put", rpc.PutRequest(key=key))
    page = await call(served.channel, "KV/Range", rpc.RangeRequest(key=b"p/", range_end=b"p0", limit=2))
    assert ([pair.key for pair in page.kvs], page.more, page.count) == ([b"p/1", b"p/2"], True, 3)


async def test_a_delete_answers_with_what_was_there(served: FakeServer) -> None:
    await call(served.channel, "KV/Put", rpc.PutRequest(key=b"a", value=b"1"))
    gone = await call(served.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a", prev_kv=True))
    assert (gone.deleted, gone.prev_kvs[0].value, gone.header.revision) == (1, b"1", 3)


async def test_a_read_only_txn_does_not_go_through_the_log(served: FakeServer) -> None:
    compare = rpc.Compare(key=b"a", target=rpc.Compare.CREATE, create_revision=0)
    request = rpc.TxnRequest(
        compare=[compare], success=[rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a"))]
    )
    answer = await call(served.channel, "KV/Txn", request)
    assert answer.succeeded
    assert served.member.proposals == []


async def test_a_txn_that_writes_answers_each_operation(served: FakeServer) -> None:
    request = rpc.TxnRequest(
        success=[
            rpc.RequestOp(request_put=rpc.PutRequest(key=b"a", value=b"1")),
            rpc.RequestOp(request_range=rpc.RangeRequest(key=b"a")),
        ]
    )
    answer = await call(served.channel, "KV/Txn", request)
    assert answer.succeeded
    assert answer.responses[0].response_put.header.revision == 2
    assert answer.responses[1].response_range.kvs[0].value == b"1"


@pytest.mark.parametrize(
    ("method", "request_", "code", "text"),
    [
        ("KV/Range", rpc.RangeRequest(), 3, "etcdserver: key is not provided"),
        ("KV/Put", rpc.PutRequest(), 3, "etcdserver: key is not provided"),
        ("KV/Put", rpc.PutRequest(key=b"a", value=b"1", ignore_value=True), 3, "etcdserver: value is provided"),
        ("KV/Put", rpc.PutRequest(key=b"a", lease=1, ignore_lease=True), 3, "etcdserver: lease is provided"),
        ("KV/Put", rpc.PutRequest(key=b"a", ignore_value=True), 3, "etcdserver: key not found"),
        ("KV/Put", rpc.PutRequest(key=b"a", lease=9), 5, "etcdserver: requested lease not found"),
        ("KV/DeleteRange", rpc.DeleteRangeRequest(), 3, "etcdserver: key is not provided"),
        ("KV/Range", rpc.RangeRequest(key=b"a", revision=9), 11,
         "etcdserver: mvcc: required revision is a future revision"),
        ("KV/Compact", rpc.CompactionRequest(revision=0), 11,
         "etcdserver: mvcc: required revision has been compacted"),
        ("KV/Txn", rpc.TxnRequest(success=[rpc.RequestOp()]), 3, "etcdserver: key not found"),
        ("KV/Put", rpc.PutRequest(key=b"a", value=bytes(1_572_864)), 3, "etcdserver: request is too large"),
    ],
)  # fmt: skip
async def test_the_clients_faults_have_etcds_words(
    served: FakeServer, method: str, request_: object, code: int, text: str
) -> None:
    assert await refused(served, method, request_) == (code, text)


async def test_reads_below_the_compacted_revision_are_refused(served: FakeServer) -> None:
    for value in (b"1", b"2", b"3"):
        await call(served.channel, "KV/Put", rpc.PutRequest(key=b"a", value=value))
    await call(served.channel, "KV/Compact", rpc.CompactionRequest(revision=3, physical=True))
    assert served.state.is_scrubbed
    at_mark = await call(served.channel, "KV/Range", rpc.RangeRequest(key=b"a", revision=3))
    assert at_mark.kvs[0].value == b"2"
    compacted = (11, "etcdserver: mvcc: required revision has been compacted")
    assert await refused(served, "KV/Range", rpc.RangeRequest(key=b"a", revision=2)) == compacted
    assert await refused(served, "KV/Compact", rpc.CompactionRequest(revision=3)) == compacted


async def test_a_store_above_its_quota_refuses_puts_and_lets_deletes_pass() -> None:
    async with FakeServer(ApiLimits(quota_backend_bytes=1)) as server:
        await call(server.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a"))
        server.state.apply(2, 1, b"P" + rpc.PutRequest(key=b"a").SerializeToString())
        for _ in range(2):
            outcome = await refused(server, "KV/Put", rpc.PutRequest(key=b"b"))
            assert outcome == (8, "etcdserver: mvcc: database space exceeded")
        gone = await call(server.channel, "KV/DeleteRange", rpc.DeleteRangeRequest(key=b"a"))
        assert gone.deleted == 1


async def test_a_map_that_fills_up_refuses_puts_before_it_is_full_and_takes_them_again_after_a_compaction() -> None:
    no_space = (8, "etcdserver: mvcc: database space exceeded")
    async with FakeServer(store=MemoryStore(layout.TABLES, limit_bytes=4 << 20)) as server:
        answers = []
        for number in range(400):
            put = rpc.PutRequest(key=b"k%d" % (number % 10), value=bytes(20_000))
            try:
                answers.append(await call(server.channel, "KV/Put", put))
            except RpcError as error:
                assert (error.code, error.text) == no_space
        assert 100 < len(answers) < 400
        alarms = await call(server.channel, "Maintenance/Alarm", rpc.AlarmRequest())
        assert [(one.memberID, one.alarm) for one in alarms.alarms] == [(MEMBER_ID, rpc.NOSPACE)]
        server.services.space.check()
        assert server.state.alarms, "there is no room yet"
        revision = answers[-1].header.revision
        await call(server.channel, "KV/Compact", rpc.CompactionRequest(revision=revision, physical=True))
        server.services.space.check()
        await call(server.channel, "KV/Put", rpc.PutRequest(key=b"again"))
        assert not server.state.alarms


async def test_a_client_that_requires_a_leader_is_told_at_once_that_there_is_none(served: FakeServer) -> None:
    served.member.elect(0)
    with pytest.raises(RpcError) as caught:
        await call(
            served.channel, "KV/Range", rpc.RangeRequest(key=b"a", serializable=True), metadata={"hasleader": "true"}
        )
    assert (caught.value.code, caught.value.text) == (Code.UNAVAILABLE, "etcdserver: no leader")
    stale = await call(served.channel, "KV/Range", rpc.RangeRequest(key=b"a", serializable=True))
    assert stale.count == 0


async def test_what_is_not_implemented_says_so(served: FakeServer) -> None:
    for path in ("KV/NoSuchMethod", "NoSuchService/Get"):
        with pytest.raises(RpcError) as caught:
            await served.channel.unary(f"/etcdserverpb.{path}", b"")
        assert caught.value.code == Code.UNIMPLEMENTED


async def test_bytes_that_are_no_message_are_refused(served: FakeServer) -> None:
    with pytest.raises(RpcError) as caught:
        await served.channel.unary("/etcdserverpb.KV/Put", b"\xff\xff\xff")
    assert caught.value.code == Code.INTERNAL
