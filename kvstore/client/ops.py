"""Builders of transactions: `await client.txn([mod_revision(key) == 5], [put(key, value)], [range_(key)])`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from kvstore.pb import rpc_pb2

Op: TypeAlias = rpc_pb2.RequestOp
Comparison: TypeAlias = rpc_pb2.Compare

EQUAL: Final = rpc_pb2.Compare.EQUAL
GREATER: Final = rpc_pb2.Compare.GREATER
LESS: Final = rpc_pb2.Compare.LESS
NOT_EQUAL: Final = rpc_pb2.Compare.NOT_EQUAL


def prefix_end(prefix: bytes) -> bytes:
    r"""The end of the range of all keys with this prefix; b"\0" ("to the end") when there is no larger prefix."""
    stem = prefix.rstrip(b"\xff")
    return stem[:-1] + bytes([stem[-1] + 1]) if stem else b"\0"


@dataclass(frozen=True, slots=True, eq=False)
class Target:
    """One side of a comparison; `==`, `!=`, `<` and `>` with a number (or bytes, for values) make a Compare."""

    key: bytes
    range_end: bytes
    target: rpc_pb2.Compare.CompareTarget
    field: str

    def _compare(self, result: rpc_pb2.Compare.CompareResult, operand: int | bytes) -> rpc_pb2.Compare:
        fields: dict[str, Any] = {self.field: operand}
        return rpc_pb2.Compare(result=result, target=self.target, key=self.key, range_end=self.range_end, **fields)

    def __eq__(self, operand: int | bytes) -> rpc_pb2.Compare:  # type: ignore[override]
        return self._compare(EQUAL, operand)

    def __ne__(self, operand: int | bytes) -> rpc_pb2.Compare:  # type: ignore[override]
        return self._compare(NOT_EQUAL, operand)

    def __lt__(self, operand: int | bytes) -> rpc_pb2.Compare:
        return self._compare(LESS, operand)

    def __gt__(self, operand: int | bytes) -> rpc_pb2.Compare:
        return self._compare(GREATER, operand)

    __hash__ = None  # type: ignore[assignment]


def version(key: bytes, range_end: bytes = b"") -> Target:
    """How often the key was written since it was created; 0: it does not exist."""
    return Target(key, range_end, rpc_pb2.Compare.VERSION, "version")


def create_revision(key: bytes, range_end: bytes = b"") -> Target:
    """The revision that created the key; 0: it does not exist."""
    return Target(key, range_end, rpc_pb2.Compare.CREATE, "create_revision")


def mod_revision(key: bytes, range_end: bytes = b"") -> Target:
    """The revision that wrote the key last; 0: it does not exist."""
    return Target(key, range_end, rpc_pb2.Compare.MOD, "mod_revision")


def value(key: bytes, range_end: bytes = b"") -> Target:
    """The value. Any comparison with a key that does not exist is false, even `!=`."""
    return Target(key, range_end, rpc_pb2.Compare.VALUE, "value")


def lease(key: bytes, range_end: bytes = b"") -> Target:
    """The lease of the key; 0: none."""
    return Target(key, range_end, rpc_pb2.Compare.LEASE, "lease")


def put(
    key: bytes,
    value: bytes = b"",
    *,
    lease: int = 0,
    prev_kv: bool = False,
    ignore_value: bool = False,
    ignore_lease: bool = False,
) -> rpc_pb2.RequestOp:
    """A Put inside a transaction."""
    request = rpc_pb2.PutRequest(
        key=key, value=value, lease=lease, prev_kv=prev_kv, ignore_value=ignore_value, ignore_lease=ignore_lease
    )
    return rpc_pb2.RequestOp(request_put=request)


def delete(key: bytes, range_end: bytes = b"", *, prev_kv: bool = False) -> rpc_pb2.RequestOp:
    """A DeleteRange inside a transaction."""
    request = rpc_pb2.DeleteRangeRequest(key=key, range_end=range_end, prev_kv=prev_kv)
    return rpc_pb2.RequestOp(request_delete_range=request)


def range_(key: bytes, range_end: bytes = b"", **options: Any) -> rpc_pb2.RequestOp:
    """A Range inside a transaction; `options` are the fields of RangeRequest."""
    return rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key, range_end=range_end, **options))


def txn(
    compares: Iterable[rpc_pb2.Compare],
    success: Iterable[rpc_pb2.RequestOp] = (),
    failure: Iterable[rpc_pb2.RequestOp] = (),
) -> rpc_pb2.RequestOp:
    """A transaction inside a transaction."""
    return rpc_pb2.RequestOp(request_txn=rpc_pb2.TxnRequest(compare=compares, success=success, failure=failure))


def writes(request: rpc_pb2.TxnRequest) -> bool:
    """Whether a transaction may change anything."""
    return any(_op_writes(op) for branch in (request.success, request.failure) for op in branch)


def _op_writes(op: rpc_pb2.RequestOp) -> bool:
    kind = op.WhichOneof("request")
    if kind == "request_txn":
        return writes(op.request_txn)
    return kind in ("request_put", "request_delete_range")
