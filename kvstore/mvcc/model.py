"""The dumb twin of the state machine: a list of dicts, one for each revision.  Tests compare the two."""

from copy import deepcopy
from typing import Any

from kvstore.mvcc import errors
from kvstore.mvcc.errors import Failure
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.pb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    ResponseOp,
    TxnRequest,
    TxnResponse,
)

__all__ = ["Model"]

_State = dict[bytes, KeyValue]
_SORT_FIELDS = {0: "key", 1: "version", 2: "create_revision", 3: "mod_revision", 4: "value"}
_COMPARE_FIELDS = {0: "version", 1: "create_revision", 2: "mod_revision", 3: "value", 4: "lease"}


def _inside(key: bytes, start: bytes, range_end: bytes) -> bool:
    if not range_end:
        return key == start
    return key >= start and (range_end == b"\0" or key < range_end)


class Model:
    """Requests in, response messages (without header) or Failure out. Requests have passed `checks`."""

    def __init__(self) -> None:
        self.states: list[_State] = [{}, {}]  # by revision; a store begins at revision 1
        self.events: list[list[tuple[bool, bytes]]] = [[], []]  # (is_delete, key) by revision
        self.compacted = 0
        self.lease_ttls: dict[int, int] = {}
        self._now: _State = {}  # the newest state, in the middle of a command
        self._running: list[tuple[bool, bytes]] = []

    @property
    def revision(self) -> int:
        """Revision of the newest change."""
        return len(self.states) - 1

    def _finish(self) -> None:
        if self._running:
            self.states.append(deepcopy(self._now))
            self.events.append(self._running)
            self._running = []

    def put(self, request: PutRequest) -> PutResponse | Failure:
        """Apply a put."""
        if request.lease and request.lease not in self.lease_ttls:
            return errors.LEASE_NOT_FOUND
        failure = self._refuse_put(request)
        if failure is not None:
            return failure
        response = self._put(request)
        self._finish()
        return response

    def _refuse_put(self, request: PutRequest) -> Failure | None:
        if (request.ignore_value or request.ignore_lease) and request.key not in self._now:
            return errors.KEY_NOT_FOUND
        if request.lease and request.lease not in self.lease_ttls:
            return errors.LEASE_NOT_FOUND
        return None

    def _put(self, request: PutRequest) -> PutResponse:
        old = self._now.get(request.key)
        self._now[request.key] = KeyValue(
            key=request.key,
            create_revision=old.create_revision if old else self.revision + 1,
            mod_revision=self.revision + 1,
            version=old.version + 1 if old else 1,
            value=old.value if old and request.ignore_value else request.value,
            lease=old.lease if old and request.ignore_lease else request.lease,
        )
        self._running.append((False, request.key))
        return PutResponse(prev_kv=old) if request.prev_kv else PutResponse()

    def delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        """Apply a delete."""
        response = self._delete_range(request)
        self._finish()
        return response

    def _delete_range(self, request: DeleteRangeRequest) -> DeleteRangeResponse:
        doomed = sorted(key for key in self._now if _inside(key, request.key, request.range_end))
        pairs = [self._now.pop(key) for key in doomed]
        self._running += [(True, key) for key in doomed]
        return DeleteRangeResponse(deleted=len(pairs), prev_kvs=pairs if request.prev_kv else [])

    def range(self, request: RangeRequest) -> RangeResponse | Failure:
        """Answer a Range."""
        if request.revision > self.revision:
            return errors.FUTURE_REVISION
        if 0 < request.revision < self.compacted:
            return errors.COMPACTED
        state = self.states[request.revision] if request.revision > 0 else self._now
        pairs = [state[key] for key in sorted(state) if _inside(key, request.key, request.range_end)]
        count = len(pairs)
        if request.count_only:
            return RangeResponse(count=count)
        filtered = [pair for pair in pairs if self._wanted(pair, request)]
        ordered, limit = request.sort_order != RangeRequest.NONE, request.limit
        if not ordered and limit > 0 and filtered == pairs and not self._has_filter(request):
            filtered = filtered[: limit + 1]
        filtered.sort(key=lambda pair: getattr(pair, _SORT_FIELDS[request.sort_target]), reverse=request.sort_order == 2)
        more = 0 < limit < len(filtered)
        shown = [KeyValue.FromString(pair.SerializeToString()) for pair in (filtered[:limit] if more else filtered)]
        if request.keys_only:
            for pair in shown:
                pair.ClearField("value")
        return RangeResponse(kvs=shown, count=count, more=more)

    @staticmethod
    def _has_filter(request: RangeRequest) -> bool:
        return any((request.min_mod_revision, request.max_mod_revision,
                    request.min_create_revision, request.max_create_revision))  # fmt: skip

    @staticmethod
    def _wanted(pair: KeyValue, request: RangeRequest) -> bool:
        return not (
            (request.max_mod_revision and pair.mod_revision > request.max_mod_revision)
            or (request.min_mod_revision and pair.mod_revision < request.min_mod_revision)
            or (request.max_create_revision and pair.create_revision > request.max_create_revision)
            or (request.min_create_revision and pair.create_revision < request.min_create_revision)
        )

    def txn(self, request: TxnRequest) -> TxnResponse | Failure:
        """Apply a transaction, all of it or nothing."""
        before = dict(self._now)
        for kinds in (("request_put",), ("request_range",)):
            failure = self._refuse_branch(request, before, kinds)
            if failure is not None:
                return failure
        response = self._txn(request, before)
        self._finish()
        return response

    def _branch(self, request: TxnRequest, before: _State) -> tuple[bool, Any]:
        succeeded = all(self._holds(compare, before) for compare in request.compare)
        return succeeded, request.success if succeeded else request.failure

    def _refuse_branch(self, request: TxnRequest, before: _State, kinds: tuple[str, ...]) -> Failure | None:
        for operation in self._branch(request, before)[1]:
            failure = None
            kind = operation.WhichOneof("request")
            if kind == "request_txn":
                failure = self._refuse_branch(operation.request_txn, before, kinds)
            elif kind in kinds and kind == "request_put":
                failure = self._refuse_put(operation.request_put)
            elif kind in kinds:
                revision = operation.request_range.revision
                if revision > self.revision:
                    failure = errors.FUTURE_REVISION
                elif revision and revision < (self.compacted or -1):
                    failure = errors.COMPACTED
            if failure is not None:
                return failure
        return None

    def _txn(self, request: TxnRequest, before: _State) -> TxnResponse:
        succeeded, branch = self._branch(request, before)
        return TxnResponse(succeeded=succeeded, responses=[self._operate(one, before) for one in branch])

    def _operate(self, operation: RequestOp, before: _State) -> ResponseOp:
        answer = ResponseOp()
        kind = operation.WhichOneof("request")
        if kind == "request_put":
            answer.response_put.CopyFrom(self._put(operation.request_put))
            answer.response_put.header.revision = self.revision + 1
        elif kind == "request_delete_range":
            answer.response_delete_range.CopyFrom(self._delete_range(operation.request_delete_range))
            answer.response_delete_range.header.revision = self.revision + bool(self._running)
        elif kind == "request_range":
            found = self.range(operation.request_range)
            assert isinstance(found, RangeResponse)
            answer.response_range.CopyFrom(found)
            answer.response_range.header.revision = self.revision + bool(self._running)
        else:
            answer.response_txn.CopyFrom(self._txn(operation.request_txn, before))
            answer.response_txn.header.SetInParent()
        return answer

    @staticmethod
    def _holds(compare: Compare, before: _State) -> bool:
        pairs = [pair for key, pair in before.items() if _inside(key, compare.key, compare.range_end)]
        field = _COMPARE_FIELDS[compare.target]
        if not pairs:
            if field == "value":
                return False
            pairs = [KeyValue()]
        wanted = getattr(compare, field)
        for pair in pairs:
            there = getattr(pair, field)
            if not (there == wanted, there > wanted, there < wanted, there != wanted)[compare.result]:
                return False
        return True

    def compact(self, revision: int) -> Failure | None:
        """Refuse reads below `revision` from now on."""
        if revision <= self.compacted:
            return errors.COMPACTED
        if revision > self.revision:
            return errors.FUTURE_REVISION
        self.compacted = revision
        return None

    def grant(self, lease: int, ttl_seconds: int) -> Failure | None:
        """Grant a lease."""
        if lease in self.lease_ttls:
            return errors.LEASE_EXISTS
        self.lease_ttls[lease] = ttl_seconds
        return None

    def revoke(self, lease: int) -> Failure | None:
        """End a lease; its keys go in one revision."""
        if lease not in self.lease_ttls:
            return errors.LEASE_NOT_FOUND
        del self.lease_ttls[lease]
        for key in sorted(key for key, pair in self._now.items() if pair.lease == lease):
            self._delete_range(DeleteRangeRequest(key=key))
        self._finish()
        return None

    def lease_keys(self, lease: int) -> list[bytes]:
        """Return the keys attached to a lease, in order."""
        return sorted(key for key, pair in self._now.items() if pair.lease == lease)
