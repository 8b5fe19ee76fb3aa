"""A history file keeps everything, and says which line is none."""

from pathlib import Path

import pytest

from chaos.history import History, Logged, Operation, Outcome, load, load_history, save_history
from chaos.leasing import LeaseRecord, Renewal
from chaos.observed import Episode, Hold, Led, Replica, Scope
from chaos.transactions import Answer, Guard, KeyValue, Step, Transaction, from_messages, of_operation
from chaos.watching import Event, Response, Stream
from kvstore.client import ops
from kvstore.pb import kv_pb2, rpc_pb2

REQUEST = rpc_pb2.TxnRequest(
    compare=[ops.mod_revision(b"a") == 4, ops.value(b"b", b"c") != b"x"],
    success=[ops.put(b"a", b"1.1", lease=7), ops.delete(b"d", b"e")],
    failure=[ops.range_(b"a", b"\0", limit=2)],
)


def test_everything_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    event = Event(3, "k", False, "v", 3, 1)
    transaction = from_messages(REQUEST, None, client=3, called=1.0, returned=2.0, outcome=Outcome.UNKNOWN)
    history = History(
        operations=[Operation(1, "get", "k", None, 0.0, 1.0, Outcome.OK, 3)],
        transactions=[transaction],
        log=[Logged(3, "k", "v", 9), Logged(3, "l", None)],
        streams=[Stream("w", "s1", "a", "b", 4, responses=[Response(4, (event,)), Response(5)])],
        leases=[LeaseRecord(7, "k", [Renewal(1.0, 2.0, 5)], True)],
        holds=[Hold(1, "lock/", "lock/7", 12, 0.0, 1.0, None, 13)],
        scopes=[Scope("bank", "bank/", 100)],
        replicas=[Replica("s1", 9, 77)],
        episodes=[Episode("kill", ("s1", "s2"), 1.0, 2.0, 2.5)],
        led=[Led("s1", 2, 0.5)],
        events=[event],
        compacted=2,
        is_whole=True,
        about={"seed": 7},
    )
    save_history(tmp_path / "h", history)
    assert load_history(tmp_path / "h") == history
    assert load(tmp_path / "h") == (history.operations, history.log)


def test_the_first_form_of_the_file_is_still_read(tmp_path: Path) -> None:
    (tmp_path / "h").write_text(
        '{"operation": {"client": 1, "kind": "put", "key": "k", "value": "a", "called": 0.5, "returned": 0.7, '
        '"outcome": "ok", "revision": 2, "mod_revision": 2, "expected": null, "error": ""}}\n'
        '{"logged": {"revision": 2, "key": "k", "value": "a"}}\n'
    )
    operations, log = load(tmp_path / "h")
    assert operations == [Operation(1, "put", "k", "a", 0.5, 0.7, Outcome.OK, 2, 2)]
    assert log == [Logged(2, "k", "a")]


@pytest.mark.parametrize("line", ["nonsense", "{}", '{"logged": {}}', '{"dream": {}}', '{"operation": 3}', "[1]"])
def test_a_line_that_is_none_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "h").write_text('{"about": {}}\n' + line + "\n")
    with pytest.raises(ValueError, match=":2: not a line of a history"):
        load_history(tmp_path / "h")


def test_messages_become_a_transaction() -> None:
    pair = kv_pb2.KeyValue(key=b"a", value=b"0.1", mod_revision=4, create_revision=3, version=2)
    response = rpc_pb2.TxnResponse(
        header=rpc_pb2.ResponseHeader(revision=9),
        succeeded=False,
        responses=[rpc_pb2.ResponseOp(response_range=rpc_pb2.RangeResponse(kvs=[pair], count=3, more=True))],
    )
    assert from_messages(REQUEST, response, client=2, called=1.0, returned=2.0, member="s1") == Transaction(
        client=2,
        called=1.0,
        returned=2.0,
        outcome=Outcome.OK,
        then=(Step("put", "a", "1.1", lease=7), Step("delete", "d", end_key="e")),
        otherwise=(Step("range", "a", end_key="\0", limit=2),),
        guards=(Guard("a", "mod", "=", 4), Guard("b", "value", "!=", "x", "c")),
        succeeded=False,
        answers=(Answer((KeyValue("a", "0.1", 4, 3, 2, 0),), 3, True),),
        revision=9,
        member="s1",
    )


def test_a_registers_swap_becomes_a_guarded_put() -> None:
    swap = Operation(1, "cas", "k", "b", 2.0, 3.0, Outcome.UNKNOWN, expected=3)
    transaction = of_operation(swap)
    assert (transaction.guards, transaction.then) == ((Guard("k", "mod", "=", 3),), (Step("put", "k", "b"),))
    assert (transaction.succeeded, transaction.answers) == (None, ())
