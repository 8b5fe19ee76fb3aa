"""Ranges read piece by piece are what they would be in one go, and no step of them is long."""

from itertools import count
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kvstore.mvcc import commands, history, layout, long_ranges
from kvstore.mvcc.long_ranges import Tail
from kvstore.mvcc.ranges import Found
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Outcome
from kvstore.pb import rpc_pb2 as rpc
from kvstore.storage.memory import MemoryStore
from tests.kvstore.mvcc.strategies import BITS, KEYS, deletes, puts, ranges

KEY_COUNT = 3000


def state_after(requests: list[Any]) -> StateMachine:
    state = StateMachine(MemoryStore(layout.TABLES))
    for index, request in zip(count(1), requests):
        command = commands.PUT if isinstance(request, rpc.PutRequest) else commands.DELETE_RANGE
        state.apply(index, 1, command + request.SerializeToString())
    return state


def joined(state: StateMachine, request: rpc.RangeRequest) -> bytes:
    return b"".join(piece.encoded if isinstance(piece, Tail) else piece for piece in state.range_pieces(request))


@given(
    changes=st.lists(st.one_of(puts(), puts(), deletes()), max_size=40),
    requests=st.lists(ranges(), min_size=1, max_size=8),
    by_search=BITS,
    step_rows=st.sampled_from([1, 3, 100]),
)
def test_the_pieces_of_a_range_add_up_to_it(
    changes: list[Any], requests: list[rpc.RangeRequest], by_search: bool, step_rows: int
) -> None:
    state = state_after([change for change in changes if not getattr(change, "lease", 0)])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(long_ranges, "STEP_ROWS", step_rows)
        patch.setattr(long_ranges, "RUN_ROWS", step_rows)
        patch.setattr(history, "MAX_EVENTS_READ_BACK", 0 if by_search else 100)
        for request in requests:
            found = state.range(request)
            if isinstance(found, Found) and request.range_end:
                assert joined(state, request) == found.body()


def read(state: StateMachine, request: rpc.TxnRequest) -> tuple[Outcome, int]:
    """Run a transaction that only reads; return its outcome and how many steps it took."""
    outcome = state.read_txn(request)
    if isinstance(outcome, Outcome):
        return outcome, 0
    steps = list(outcome)
    assert isinstance(steps[-1], Outcome) and not any(steps[:-1])
    return steps[-1], len(steps)


@given(
    changes=st.lists(st.one_of(puts(), puts(), deletes()), max_size=40),
    requests=st.lists(ranges(), min_size=1, max_size=4),
    inner=st.lists(ranges(), max_size=2),
    succeeds=BITS,
)
def test_a_transaction_of_long_ranges_reads_what_one_of_short_ranges_does(
    changes: list[Any], requests: list[rpc.RangeRequest], inner: list[rpc.RangeRequest], succeeds: bool
) -> None:
    state = state_after([change for change in changes if not getattr(change, "lease", 0)])
    operations = [rpc.RequestOp(request_range=request) for request in requests]
    nested = rpc.RequestOp(request_txn=rpc.TxnRequest(success=[rpc.RequestOp(request_range=request) for request in inner]))
    compare = rpc.Compare(key=b"none", target="VERSION", result="EQUAL" if succeeds else "GREATER")
    txn = rpc.TxnRequest(compare=[compare], success=[*operations, nested], failure=[nested, *operations])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("kvstore.mvcc.txns.is_long", lambda working, request: False)
        expected, steps = read(state, txn)
        assert not steps
        patch.setattr("kvstore.mvcc.txns.is_long", lambda working, request: bool(request.range_end))
        assert read(state, txn)[0] == expected


def test_what_is_written_meanwhile_is_not_seen_by_a_long_transaction() -> None:
    state = state_after([rpc.PutRequest(key=b"%05d" % number) for number in range(KEY_COUNT)])
    operation = rpc.RequestOp(request_range=rpc.RangeRequest(key=b"\0", range_end=b"\0"))
    steps = state.read_txn(rpc.TxnRequest(success=[operation, operation]))
    assert not isinstance(steps, Outcome)
    assert next(steps) is None
    state.apply(KEY_COUNT + 1, 1, commands.PUT + rpc.PutRequest(key=b"x").SerializeToString())
    state.commit()
    outcome = list(steps)[-1]
    assert outcome is not None and outcome.revision == KEY_COUNT + 1
    responses = rpc.TxnResponse.FromString(outcome.body).responses
    assert [response.response_range.count for response in responses] == [KEY_COUNT] * 2


@given(keys=st.lists(KEYS, max_size=30), revision=st.integers(1, 30), backward=BITS)
def test_a_past_range_shows_its_keys_in_order(keys: list[bytes], revision: int, backward: bool) -> None:
    state = state_after([rpc.PutRequest(key=key) for key in keys])
    request = rpc.RangeRequest(key=b"\0", range_end=b"\0", revision=revision, sort_order=2 if backward else 0)  # type: ignore[arg-type]
    if revision <= state.revision:
        shown = [pair.key for pair in rpc.RangeResponse.FromString(joined(state, request)).kvs]
        assert shown == sorted({*keys[: revision - 1]}, reverse=backward)


@pytest.mark.parametrize(
    "options",
    [
        {"count_only": True},
        {"limit": 10},
        {"sort_order": 2},
        {"sort_order": 2, "sort_target": 2, "limit": 1},
        {"revision": KEY_COUNT // 2},
        {"revision": KEY_COUNT // 2, "count_only": True},
        {"min_mod_revision": KEY_COUNT},
    ],
    ids=str,
)
def test_a_step_looks_at_so_many_rows_and_no_more(options: dict[str, Any]) -> None:
    state = state_after([rpc.PutRequest(key=b"%05d" % (number * 7 % KEY_COUNT)) for number in range(KEY_COUNT)])
    pieces = state.range_or_pieces(rpc.RangeRequest(key=b"\0", range_end=b"\0", **options))
    assert not isinstance(pieces, Found), "so many keys are not answered in one go"
    assert sum(1 for _ in pieces) >= KEY_COUNT // long_ranges.STEP_ROWS  # type: ignore[union-attr]
