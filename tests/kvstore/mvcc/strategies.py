"""Random requests over few keys, leases and revisions, so that they meet."""

from hypothesis import strategies as st

from kvstore.pb import rpc_pb2 as rpc

_KEYS = (b"a", b"a\0", b"a\0\1", b"ab", b"b", b"b\xff", b"c", b"k" * 505, b"k" * 600)


def _key(number: int) -> bytes:
    return _KEYS[number]


KEYS = st.integers(0, len(_KEYS) - 1).map(_key)  # not sampled_from: hypothesis refuses to print long strategies
RANGE_ENDS = st.one_of(st.just(b""), st.just(b"\0"), KEYS)
REVISIONS = st.integers(-1, 30)
LEASES = st.integers(0, 3)
BITS = st.booleans()
FEW = st.integers(0, 4)


def puts() -> st.SearchStrategy[rpc.PutRequest]:
    plain = st.builds(rpc.PutRequest, key=KEYS, value=st.binary(max_size=3), lease=LEASES, prev_kv=BITS)
    keep_value = st.builds(rpc.PutRequest, key=KEYS, lease=LEASES, ignore_value=st.just(True), prev_kv=BITS)
    keep_lease = st.builds(rpc.PutRequest, key=KEYS, value=st.binary(max_size=3), ignore_lease=st.just(True))
    return st.one_of(plain, plain, plain, keep_value, keep_lease)


def deletes() -> st.SearchStrategy[rpc.DeleteRangeRequest]:
    return st.builds(rpc.DeleteRangeRequest, key=KEYS, range_end=RANGE_ENDS, prev_kv=BITS)


def ranges() -> st.SearchStrategy[rpc.RangeRequest]:
    plain = st.builds(rpc.RangeRequest, key=KEYS, range_end=RANGE_ENDS, revision=REVISIONS, limit=st.integers(-1, 4))
    exotic = st.builds(
        rpc.RangeRequest,
        key=KEYS,
        range_end=RANGE_ENDS,
        limit=FEW,
        revision=REVISIONS,
        sort_order=st.integers(0, 2),
        sort_target=st.integers(0, 4),
        keys_only=BITS,
        count_only=st.sampled_from([False, False, True]),
        min_mod_revision=FEW,
        max_mod_revision=st.sampled_from([0, 0, 5, 10, 20]),
        min_create_revision=FEW,
        max_create_revision=st.sampled_from([0, 0, 5, 10, 20]),
    )
    ordered = st.builds(
        rpc.RangeRequest, key=KEYS, range_end=RANGE_ENDS, limit=FEW,
        sort_order=st.integers(0, 2), sort_target=st.integers(0, 4),
    )  # fmt: skip
    return st.one_of(plain, ordered, exotic)


def compares() -> st.SearchStrategy[rpc.Compare]:
    numbers = [
        st.builds(rpc.Compare, key=KEYS, range_end=RANGE_ENDS, result=st.integers(0, 3), target=st.just(target),
                  **{field: st.integers(0, 12)})
        for target, field in ((0, "version"), (1, "create_revision"), (2, "mod_revision"), (4, "lease"))
    ]
    values = st.builds(
        rpc.Compare, key=KEYS, range_end=RANGE_ENDS, result=st.integers(0, 3), target=st.just(3),
        value=st.binary(max_size=3),
    )  # fmt: skip
    return st.one_of(*numbers, values)


@st.composite
def _operations(draw: st.DrawFn, depth: int) -> rpc.RequestOp:
    kind = draw(st.integers(0, 3 if depth else 2))
    if kind == 0:
        return rpc.RequestOp(request_put=draw(puts()))
    if kind == 1:
        return rpc.RequestOp(request_range=draw(ranges()))
    if kind == 2:
        return rpc.RequestOp(request_delete_range=draw(deletes()))
    return rpc.RequestOp(request_txn=draw(txns(depth - 1)))


@st.composite
def txns(draw: st.DrawFn, depth: int = 2) -> rpc.TxnRequest:
    """Transactions; some of them are refused by `checks`."""
    branch = st.lists(_operations(depth), max_size=3)
    return rpc.TxnRequest(
        compare=draw(st.lists(compares(), max_size=2)), success=draw(branch), failure=draw(branch)
    )
