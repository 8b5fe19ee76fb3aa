"""Strategies of single steps on keys, leases, watches and the rest, and the sequences made of them."""

from typing import Any

from hypothesis import strategies as st

from kvstore.pb import rpc_pb2 as rpc
from tests.differential.steps import Ask, BriefLease, Cancel, Http, Json, KeepAlive, Save, Step, Watch
from tests.kvstore.mvcc.strategies import BITS, KEYS, RANGE_ENDS, deletes, puts, ranges, txns

LEASES = st.integers(0, 3)
STREAMS = st.integers(0, 1)
WATCH_IDS = st.sampled_from([0, 0, 0, 1, 2, 5])
REVISIONS = st.one_of(st.integers(-1, 0), st.integers(1, 30))
FAR = st.sampled_from([-(1 << 63), -1, 1 << 40, (1 << 63) - 1 - (1 << 32)])  # numbers that are no revision of ours


def ask(method: str, requests: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Draw an Ask of a method."""
    return requests.map(lambda request: Ask(method, request))


def key_value() -> st.SearchStrategy[Any]:
    """Draw a step on keys."""
    odd_ranges = st.builds(
        rpc.RangeRequest, key=st.one_of(KEYS, st.just(b""), st.just(b"\0")), range_end=RANGE_ENDS,
        sort_order=st.integers(0, 2), sort_target=st.integers(0, 4), limit=st.sampled_from([0, 1, -3, 1 << 62]),
        revision=st.one_of(REVISIONS, REVISIONS, FAR), serializable=BITS, min_mod_revision=st.one_of(st.just(0), FAR),
        max_create_revision=st.one_of(st.just(0), FAR),
    )  # fmt: skip
    odd_puts = st.builds(
        rpc.PutRequest, key=st.one_of(st.just(b""), KEYS), value=st.binary(max_size=2),
        lease=st.one_of(st.integers(-1, 9), FAR), ignore_value=BITS, ignore_lease=BITS,
    )  # fmt: skip
    compactions = st.builds(rpc.CompactionRequest, revision=st.one_of(REVISIONS, REVISIONS, FAR).filter(bool), physical=BITS)
    return st.one_of(
        ask("KV/Put", puts()), ask("KV/Put", puts()), ask("KV/Put", odd_puts), ask("KV/DeleteRange", deletes()),
        ask("KV/Range", ranges()), ask("KV/Range", odd_ranges), ask("KV/Txn", txns()), ask("KV/Txn", txns()),
        ask("KV/Txn", txns(4)), ask("KV/Compact", compactions), ask("KV/Txn", odd_txns()),
        ask("KV/DeleteRange", st.builds(rpc.DeleteRangeRequest, range_end=RANGE_ENDS)),
    )  # fmt: skip


def odd_txns() -> st.SearchStrategy[Any]:
    """Draw transactions with comparisons and operations that no client should send."""
    bare_keys = st.one_of(st.just(b""), KEYS)
    compare = st.builds(rpc.Compare, key=bare_keys, target=st.integers(0, 6), result=st.integers(0, 5), range_end=RANGE_ENDS)
    mixed = st.builds(  # the number of one target, the target another
        rpc.Compare, key=KEYS, target=st.integers(0, 4), result=st.integers(0, 3), version=st.integers(-1, 2)
    )
    operation = st.one_of(
        st.just(rpc.RequestOp()),
        st.builds(rpc.RequestOp, request_put=st.builds(rpc.PutRequest, key=bare_keys)),
        st.builds(rpc.RequestOp, request_delete_range=st.builds(rpc.DeleteRangeRequest, key=bare_keys, range_end=RANGE_ENDS)),
        st.builds(rpc.RequestOp, request_range=st.builds(rpc.RangeRequest, key=bare_keys, revision=REVISIONS)),
    )
    operations = st.lists(operation, max_size=2)
    return st.builds(
        rpc.TxnRequest, compare=st.lists(st.one_of(compare, mixed), max_size=2), success=operations, failure=operations
    )


def leases() -> st.SearchStrategy[Any]:
    """Draw a step on leases."""
    ttls = st.sampled_from([60, 3600, 9_000_000_000, 9_000_000_001, (1 << 63) - 1])
    return st.one_of(
        ask("Lease/LeaseGrant", st.builds(rpc.LeaseGrantRequest, ID=LEASES, TTL=ttls)),
        ask("Lease/LeaseGrant", st.builds(rpc.LeaseGrantRequest, ID=LEASES, TTL=st.just(3600))),
        ask("Lease/LeaseGrant", st.builds(rpc.LeaseGrantRequest, ID=st.just(-4), TTL=st.just(3600))),
        ask("Lease/LeaseRevoke", st.builds(rpc.LeaseRevokeRequest, ID=st.integers(-5, 3))),
        ask("Lease/LeaseTimeToLive", st.builds(rpc.LeaseTimeToLiveRequest, ID=st.integers(-5, 3), keys=BITS)),
        ask("Lease/LeaseLeases", st.just(rpc.LeaseLeasesRequest())),
        st.builds(KeepAlive, LEASES),
        st.builds(BriefLease, st.integers(7, 8), st.sampled_from([-5, 0, 1, 2, 3])),
    )


def watches() -> st.SearchStrategy[Any]:
    """Draw a step on watches."""
    create = st.builds(
        rpc.WatchCreateRequest, key=st.one_of(KEYS, st.just(b""), st.just(b"\0")), range_end=RANGE_ENDS,
        start_revision=st.one_of(st.just(0), REVISIONS), prev_kv=BITS, fragment=BITS, watch_id=WATCH_IDS,
        progress_notify=BITS, filters=st.lists(st.integers(0, 2), max_size=2),
    )  # fmt: skip
    every = st.builds(rpc.WatchCreateRequest, key=st.just(b"\0"), range_end=st.just(b"\0"), prev_kv=BITS)
    return st.one_of(
        st.builds(Watch, STREAMS, create),
        st.builds(Watch, STREAMS, every),
        st.builds(Cancel, STREAMS, st.integers(0, 5)),
    )


def others() -> st.SearchStrategy[Any]:
    """Draw a step on the member itself, or one that is no request."""
    junk = st.sampled_from([b"\x0a\xff", b"\xff\xff\xff", b"\x0a\x05ab", b"\x08"])
    unknown_field = st.sampled_from([b"\x0a\x01a\xf8\x3f\x01", b"\x0a\x01a\xa2\x06\x02xy"])  # from a later version
    return st.one_of(
        ask("Maintenance/Status", st.just(rpc.StatusRequest())),
        ask("Maintenance/HashKV", st.builds(rpc.HashKVRequest, revision=st.one_of(REVISIONS, FAR))),
        ask("Maintenance/Hash", st.just(rpc.HashRequest())),
        ask("Maintenance/Alarm", st.builds(rpc.AlarmRequest, alarm=st.integers(0, 2))),
        ask("Maintenance/MoveLeader", st.builds(rpc.MoveLeaderRequest, targetID=st.integers(0, 3))),
        ask("Cluster/MemberList", st.builds(rpc.MemberListRequest, linearizable=BITS)),
        ask("Auth/AuthStatus", st.just(rpc.AuthStatusRequest())),
        st.builds(Ask, st.sampled_from(["KV/Put", "KV/Range", "KV/DeleteRange"]), unknown_field),
        st.builds(Ask, st.sampled_from(["KV/Put", "KV/Range", "KV/Txn", "Lease/LeaseGrant", "Auth/UserAdd"]), junk),
        st.builds(Ask, st.sampled_from(["KV/None", "Nothing/None"]), st.just(b"")),
        st.builds(Http, st.just("GET"), st.sampled_from(["/health", "/health?serializable=true", "/health?exclude=NOSPACE"])),
        st.builds(Http, st.just("POST"), st.just("/v3/none")),
        st.sampled_from([Ask("Maintenance/Defragment", rpc.DefragmentRequest()), Save()]),
    )


def _by_json(step: Step) -> Step:
    is_message = isinstance(step, Ask) and not isinstance(step.request, bytes)
    return Json(step.method, step.request, step.user) if is_message else step  # type: ignore[union-attr, arg-type]


def sequences(longest: int = 18) -> st.SearchStrategy[list[Step]]:
    """Draw lists of steps, mostly on keys, so that they meet."""
    any_step = st.one_of(key_value(), key_value(), key_value(), leases(), watches(), others())
    step = st.one_of(any_step, any_step, any_step, any_step, st.one_of(key_value(), leases()).map(_by_json))
    return st.lists(step, min_size=1, max_size=longest)
