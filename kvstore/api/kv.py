"""KV: Range, RangeStream, Put, DeleteRange, Txn, Compact.

A write is proposed as the client's own bytes. A read waits for the linearizable barrier unless it is serializable, and
is answered with stored bytes; a large one in slices (range_stream.py).
"""

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import Node
from kvstore.api.range_stream import RangeStream, gather
from kvstore.api.scrubber import Scrubber
from kvstore.api.slices import Slices
from kvstore.mvcc import alarms, checks, commands, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.ranges import Found
from kvstore.mvcc.working import Outcome
from kvstore.pb.rpc_pb2 import CompactionRequest, DeleteRangeRequest, PutRequest, RangeRequest, TxnRequest
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["KvService"]

_ONE_PAIR = b"\x20\x01"  # RangeResponse.count = 1


class KvService:
    """The handlers of etcdserverpb.KV."""

    def __init__(self, node: Node, scrubber: Scrubber, slices: Slices) -> None:
        self._node = node
        self._state = node.state
        self._scrubber = scrubber
        self._slices = slices

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {
            "/etcdserverpb.KV/Range": Unary(self.range),
            "/etcdserverpb.KV/RangeStream": Streaming(lambda call: RangeStream(self._node, self._slices, call)),
            "/etcdserverpb.KV/Put": Unary(self.put),
            "/etcdserverpb.KV/DeleteRange": Unary(self.delete_range),
            "/etcdserverpb.KV/Txn": Unary(self.txn),
            "/etcdserverpb.KV/Compact": Unary(self.compact),
        }

    def range(self, call: Call, message: bytes) -> None:
        """Answer Range."""
        request = decode(call, RangeRequest, message)
        if request is None or not self._node.admit(call):
            return
        failure = checks.check_range(request)
        if failure is not None:
            errors.refuse(call, failure)
        elif request.serializable:
            self._node.access.settle(call, lambda: self._answer_range(call, request))
        else:
            self._node.read(call, lambda: self._answer_range(call, request))

    def _answer_range(self, call: Call, request: RangeRequest) -> None:
        state, key = self._state, request.key
        if not self._node.may_read(call, lambda identity: state.guard.refuse_range(identity, request)):
            return
        if checks.is_plain_get(request):
            pair = state.newest(key)
            header = self._node.header(state.revision)
            if pair is None:
                call.reply(header)
            else:
                call.reply(b"".join((header, b"\x12", wire.varint(len(pair)), pair, _ONE_PAIR)))
            return
        found = state.range_or_pieces(request)
        header = self._node.header(state.revision)
        if isinstance(found, Found):
            call.reply(header + found.body())
        elif isinstance(found, Failure):
            errors.refuse(call, found)
        else:
            gather(self._slices, found, call, header)

    def _may_write(self, call: Call, message: bytes, failure: Failure | None, needs_space: bool) -> bool:
        if failure is None and len(message) > self._node.limits.max_request_bytes:
            failure = errors.REQUEST_TOO_LARGE
        if failure is not None:
            errors.refuse(call, failure)
        elif needs_space and not self._node.has_space(len(message)):
            self._node.refuse_for_space(call)
        else:
            return self._node.admit(call)
        return False

    def put(self, call: Call, message: bytes) -> None:
        """Answer Put."""
        request = decode(call, PutRequest, message)
        if request is not None and self._may_write(call, message, checks.check_put(request), True):
            self._node.propose(call, commands.PUT, message)

    def delete_range(self, call: Call, message: bytes) -> None:
        """Answer DeleteRange."""
        request = decode(call, DeleteRangeRequest, message)
        if request is not None and self._may_write(call, message, checks.check_delete_range(request), False):
            self._node.propose(call, commands.DELETE_RANGE, message)

    def txn(self, call: Call, message: bytes) -> None:
        """Answer Txn; one that only reads does not go through the log."""
        request = decode(call, TxnRequest, message)
        if request is None:
            return
        failure = checks.check_txn(request, self._node.limits.max_txn_operations)
        if failure is None and checks.is_read_only(request):
            self._read_txn(call, request)
        elif self._may_write(call, message, failure, alarms.needs_room(request)):
            self._node.propose(call, commands.TXN, message)

    def _read_txn(self, call: Call, request: TxnRequest) -> None:
        if not self._node.admit(call):
            return

        def answer() -> None:
            if not self._node.may_read(call, lambda identity: self._state.guard.refuse_txn(identity, request)):
                return
            outcome = self._state.read_txn(request)
            if isinstance(outcome, Outcome):
                finish(outcome)
            else:
                call.on_cancel(self._slices.run(outcome, finish))

        def finish(outcome: Outcome) -> None:
            self._node.answer(call, outcome.revision, outcome.body, outcome.failure)

        if _is_serializable(request):
            self._node.access.settle(call, answer)
        else:
            self._node.read(call, answer)

    def compact(self, call: Call, message: bytes) -> None:
        """Answer Compact: reads below the revision fail from now on; the room is regained in the background."""
        request = decode(call, CompactionRequest, message)
        if request is None or not self._node.admit(call):
            return
        if request.physical:
            self._node.propose(call, commands.COMPACT, message, self._scrubber.when_done)
        else:
            self._node.propose(call, commands.COMPACT, message)


def _is_serializable(request: TxnRequest) -> bool:
    """Whether every range of a read-only Txn may be stale. One with comparisons only, or nothing, must not be."""
    operations = [operation for branch in (request.success, request.failure) for operation in branch]
    return bool(operations) and all(
        operation.request_range.serializable
        if operation.HasField("request_range")
        else _is_serializable(operation.request_txn)
        for operation in operations
    )
