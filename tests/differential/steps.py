"""What a sequence is made of, and the strategies that draw it."""

from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from hypothesis import strategies as st

from kvstore.pb import rpc_pb2 as rpc
from tests.kvstore.mvcc.strategies import BITS, KEYS, RANGE_ENDS, deletes, puts, ranges, txns


@dataclass(frozen=True, slots=True)
class Ask:
    """One unary call; `request` is a message with relative revisions, or bytes that are no message."""

    method: str
    request: Message | bytes


@dataclass(frozen=True, slots=True)
class Watch:
    """Create a watch on stream number `stream`."""

    stream: int
    request: rpc.WatchCreateRequest


@dataclass(frozen=True, slots=True)
class Cancel:
    """Cancel a watch of a stream."""

    stream: int
    watch_id: int


@dataclass(frozen=True, slots=True)
class KeepAlive:
    """Renew one lease, on a stream of its own."""

    lease: int


@dataclass(frozen=True, slots=True)
class BriefLease:
    """Grant with a TTL that etcd clamps, look, and revoke at once, so that it cannot expire meanwhile."""

    lease: int
    ttl: int


Step = Ask | Watch | Cancel | KeepAlive | BriefLease

LEASES = st.integers(0, 3)
STREAMS = st.integers(0, 1)
WATCH_IDS = st.sampled_from([0, 0, 0, 1, 2, 5])
REVISIONS = st.one_of(st.integers(-1, 0), st.integers(1, 30))


def _ask(method: str, requests: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return requests.map(lambda request: Ask(method, request))


def _key_value() -> st.SearchStrategy[Any]:
    odd_ranges = st.builds(
        rpc.RangeRequest, key=st.one_of(KEYS, st.just(b""), st.just(b"\0")), range_end=RANGE_ENDS,
        sort_order=st.integers(0, 2), sort_target=st.integers(0, 4), limit=st.sampled_from([0, 1, -3]), revision=REVISIONS,
        serializable=BITS,
    )  # fmt: skip
    odd_puts = st.builds(
        rpc.PutRequest, key=st.one_of(st.just(b""), KEYS), value=st.binary(max_size=2), lease=st.integers(-1, 9),
        ignore_value=BITS, ignore_lease=BITS,
    )  # fmt: skip
    return st.one_of(
        _ask("KV/Put", puts()), _ask("KV/Put", puts()), _ask("KV/Put", odd_puts), _ask("KV/DeleteRange", deletes()),
        _ask("KV/Range", ranges()), _ask("KV/Range", odd_ranges), _ask("KV/Txn", txns()), _ask("KV/Txn", txns()),
        _ask("KV/Compact", st.builds(rpc.CompactionRequest, revision=REVISIONS.filter(bool), physical=BITS)),
        _ask("KV/DeleteRange", st.builds(rpc.DeleteRangeRequest, range_end=RANGE_ENDS)),
    )  # fmt: skip


def _leases() -> st.SearchStrategy[Any]:
    ttls = st.sampled_from([60, 3600, 9_000_000_000, 9_000_000_001])
    return st.one_of(
        _ask("Lease/LeaseGrant", st.builds(rpc.LeaseGrantRequest, ID=LEASES, TTL=ttls)),
        _ask("Lease/LeaseGrant", st.builds(rpc.LeaseGrantRequest, ID=LEASES, TTL=st.just(3600))),
        _ask("Lease/LeaseRevoke", st.builds(rpc.LeaseRevokeRequest, ID=LEASES)),
        _ask("Lease/LeaseTimeToLive", st.builds(rpc.LeaseTimeToLiveRequest, ID=LEASES, keys=BITS)),
        _ask("Lease/LeaseLeases", st.just(rpc.LeaseLeasesRequest())),
        st.builds(KeepAlive, LEASES),
        st.builds(BriefLease, st.integers(7, 8), st.sampled_from([-5, 0, 1, 2, 3])),
    )


def _watches() -> st.SearchStrategy[Any]:
    create = st.builds(
        rpc.WatchCreateRequest, key=st.one_of(KEYS, st.just(b""), st.just(b"\0")), range_end=RANGE_ENDS,
        start_revision=st.one_of(st.just(0), REVISIONS), prev_kv=BITS, fragment=BITS, watch_id=WATCH_IDS,
        progress_notify=BITS, filters=st.lists(st.integers(0, 1), max_size=2),
    )  # fmt: skip
    every = st.builds(rpc.WatchCreateRequest, key=st.just(b"\0"), range_end=st.just(b"\0"), prev_kv=BITS)
    return st.one_of(
        st.builds(Watch, STREAMS, create),
        st.builds(Watch, STREAMS, every),
        st.builds(Cancel, STREAMS, st.integers(0, 5)),
    )


def _others() -> st.SearchStrategy[Any]:
    junk = st.sampled_from([b"\x0a\xff", b"\xff\xff\xff", b"\x0a\x05ab", b"\x08"])
    return st.one_of(
        _ask("Maintenance/Status", st.just(rpc.StatusRequest())),
        _ask("Maintenance/HashKV", st.builds(rpc.HashKVRequest, revision=REVISIONS)),
        _ask("Maintenance/Alarm", st.just(rpc.AlarmRequest())),
        _ask("Maintenance/MoveLeader", st.just(rpc.MoveLeaderRequest(targetID=3))),
        _ask("Cluster/MemberList", st.just(rpc.MemberListRequest())),
        _ask("Auth/AuthStatus", st.just(rpc.AuthStatusRequest())),
        st.builds(Ask, st.sampled_from(["KV/Put", "KV/Range", "KV/Txn", "Lease/LeaseGrant"]), junk),
        st.builds(Ask, st.sampled_from(["KV/None", "Nothing/None"]), st.just(b"")),
    )


def sequences(longest: int = 18) -> st.SearchStrategy[list[Step]]:
    """Lists of steps, mostly on keys, so that they meet."""
    step = st.one_of(_key_value(), _key_value(), _key_value(), _leases(), _watches(), _others())
    return st.lists(step, min_size=1, max_size=longest)
