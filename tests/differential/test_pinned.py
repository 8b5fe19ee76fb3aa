"""Sequences that are worth a name: limits, and answers that random requests reach seldom."""

import asyncio

import pytest

from kvstore.pb import rpc_pb2 as rpc
from tests.differential.arena import Arena, peers
from tests.differential.steps import Ask, Cancel, KeepAlive, Step, Watch

pytestmark = pytest.mark.skipif(not peers(), reason="no etcd is installed (Debian: etcd-server; make tools)")

MEBIBYTE = 1 << 20


def put(key: bytes, value: bytes = b"", **fields: int | bool) -> rpc.RequestOp:
    return rpc.RequestOp(request_put=rpc.PutRequest(key=key, value=value, **fields))  # type: ignore[arg-type]


def delete(key: bytes, range_end: bytes = b"") -> rpc.RequestOp:
    return rpc.RequestOp(request_delete_range=rpc.DeleteRangeRequest(key=key, range_end=range_end))


def nested(*success: rpc.RequestOp) -> rpc.RequestOp:
    return rpc.RequestOp(request_txn=rpc.TxnRequest(success=success))


def txn(*success: rpc.RequestOp) -> Ask:
    return Ask("KV/Txn", rpc.TxnRequest(success=success))


def everything(**fields: int | bool) -> rpc.RangeRequest:
    return rpc.RangeRequest(key=b"\0", range_end=b"\0", **fields)  # type: ignore[arg-type]


def watch(stream: int, **fields: object) -> Watch:
    return Watch(stream, rpc.WatchCreateRequest(key=b"\0", range_end=b"\0", **fields))  # type: ignore[arg-type]


PINNED: dict[str, list[Step]] = {
    "a value of a mebibyte and a half is too large, one a little smaller is not": [
        Ask("KV/Put", rpc.PutRequest(key=b"k", value=bytes(3 * MEBIBYTE // 2))),
        Ask("KV/Put", rpc.PutRequest(key=b"k", value=bytes(3 * MEBIBYTE // 2 - 100))),
        Ask("KV/Range", everything(keys_only=True)),
    ],
    "a transaction may have 128 operations": [
        txn(*[put(b"k%d" % number) for number in range(128)]),
        txn(*[put(b"k%d" % number) for number in range(129)]),
        Ask("KV/Txn", rpc.TxnRequest(compare=[rpc.Compare(key=b"k")] * 129)),
    ],
    "a nested transaction gets what its parent leaves": [
        txn(*[put(b"k%d" % number) for number in range(126)], nested(put(b"a"))),
        txn(*[put(b"k%d" % number) for number in range(127)], nested(put(b"a"))),
        txn(*[put(b"k%d" % number) for number in range(126)], nested(put(b"a"), put(b"b"))),
    ],
    "a key is put once in a transaction, and not where it is deleted": [
        txn(put(b"a"), put(b"a")),
        txn(put(b"a"), nested(put(b"a"))),
        txn(delete(b"a", b"c"), put(b"b")),
        txn(delete(b"a"), delete(b"a", b"c")),
        txn(nested(put(b"a")), nested(put(b"a"))),
        Ask("KV/Txn", rpc.TxnRequest(success=[put(b"a")], failure=[put(b"a")])),
        txn(rpc.RequestOp()),
    ],
    "all that a transaction writes is refused with its first fault": [
        txn(put(b"a", b"1"), put(b"b", lease=77)),
        txn(put(b"a", b"1"), put(b"b", ignore_value=True)),
        txn(put(b"a", b"1"), rpc.RequestOp(request_range=everything(revision=29))),
        txn(put(b"a", b"1"), rpc.RequestOp(request_range=everything(revision=1))),
        Ask("KV/Range", everything()),
    ],
    "a compaction that is done, or is of the future, is refused": [
        Ask("KV/Put", rpc.PutRequest(key=b"a")),
        Ask("KV/Compact", rpc.CompactionRequest(revision=6)),
        Ask("KV/Compact", rpc.CompactionRequest(revision=6, physical=True)),
        Ask("KV/Compact", rpc.CompactionRequest(revision=-3)),
        Ask("KV/Compact", rpc.CompactionRequest(revision=20)),
        Ask("KV/Range", everything(revision=6)),
        Ask("KV/Range", everything(revision=5)),
    ],
    "a limit cuts by key first where no order was asked for": [
        *(
            Ask("KV/Put", rpc.PutRequest(key=key, value=value))
            for key, value in ((b"a", b"3"), (b"b", b"1"), (b"c", b"2"))
        ),
        *(
            Ask("KV/Range", everything(limit=2, sort_order=order, sort_target=target))
            for order in range(3)
            for target in range(5)
        ),
    ],
    "a lease takes its keys along in one revision, in order": [
        watch(0, prev_kv=True),
        Ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=600)),
        *(Ask("KV/Put", rpc.PutRequest(key=key, lease=7)) for key in (b"c", b"a", b"b")),
        Ask("KV/Put", rpc.PutRequest(key=b"a")),
        Ask("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=7, keys=True)),
        KeepAlive(7),
        Ask("Lease/LeaseGrant", rpc.LeaseGrantRequest(ID=7, TTL=600)),
        Ask("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=7)),
        Ask("Lease/LeaseRevoke", rpc.LeaseRevokeRequest(ID=7)),
        KeepAlive(7),
        Ask("Lease/LeaseTimeToLive", rpc.LeaseTimeToLiveRequest(ID=7, keys=True)),
    ],
    "watches of one stream have ids of their own": [
        watch(0),
        watch(0, watch_id=1),
        watch(0, watch_id=1),
        watch(0),
        Watch(0, rpc.WatchCreateRequest(key=b"b", range_end=b"a")),
        Watch(0, rpc.WatchCreateRequest(key=b"b", range_end=b"b")),
        Ask("KV/Put", rpc.PutRequest(key=b"a")),
        Cancel(0, 1),
        Cancel(0, 1),
        Cancel(0, 99),
        Ask("KV/Put", rpc.PutRequest(key=b"a")),
        watch(0, watch_id=1, start_revision=6, prev_kv=True),
    ],
    "a transaction is one response to a watch, in the order of its operations": [
        watch(0, prev_kv=True),
        watch(1, filters=[0]),
        Ask("KV/Put", rpc.PutRequest(key=b"d", value=b"1")),
        txn(put(b"c"), delete(b"d"), nested(put(b"b"), put(b"a"))),
        txn(delete(b"a", b"z"), put(b"z")),
    ],
}


@pytest.mark.parametrize("name", PINNED)
def test_pinned(arena: Arena, runner: asyncio.Runner, name: str) -> None:
    runner.run(arena.play(PINNED[name]))
