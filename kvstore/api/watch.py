"""Watch: one stream of requests and responses, any number of watchers on it."""

from collections.abc import Callable

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.interest import Interest
from kvstore.api.leader_guard import LeaderGuard
from kvstore.api.node import Node
from kvstore.api.watch_hub import MAX_PENDING_BYTES, Watcher, WatchHub
from kvstore.mvcc import layout, wire
from kvstore.pb.rpc_pb2 import WatchCreateRequest, WatchRequest
from kvstore.rpc import Call, Receiver, Streaming, Unary

__all__ = ["WatchService"]

_CREATED = b"\x18\x01"
_CANCELED = b"\x20\x01"
_FRAGMENT = b"\x38\x01"
_NO_WATCH_ID = -1
FRAGMENT_OVERHEAD_BYTES = 512 << 10  # a fragment is cut near the request limit plus this


class WatchService:
    """The handler of etcdserverpb.Watch."""

    def __init__(self, node: Node, hub: WatchHub, guard: LeaderGuard) -> None:
        self._node = node
        self._hub = hub
        self._guard = guard
        self.stream_count = 0

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {"/etcdserverpb.Watch/Watch": Streaming(self.open)}

    def open(self, call: Call) -> Receiver:
        """Begin a stream."""
        stream = _WatchStream(self._node, self._hub, call, self._closed)
        if self._node.admit(call):
            call.send_head()  # a watcher may wait for long: the client must know that the stream stands
            self._guard.add(call)
        self.stream_count += 1
        return stream

    def _closed(self, call: Call) -> None:
        self.stream_count -= 1
        self._guard.remove(call)


class _WatchStream:
    """One stream: a Receiver to the transport, an owner of watchers to the hub."""

    def __init__(self, node: Node, hub: WatchHub, call: Call, closed: Callable[[Call], None]) -> None:
        self._node = node
        self._hub = hub
        self._call = call
        self._closed = closed
        self._watchers: dict[int, Watcher] = {}
        self._spent: set[int] = set()  # ids of watches that a compaction ended: as in etcd theirs until they are cancelled
        self._next_id = 0
        self._is_open = True

    # ---- from the client ------------------------------------------------------------------------------------------

    def on_message(self, message: bytes) -> None:
        request = decode(self._call, WatchRequest, message)
        if request is None:
            return
        kind = request.WhichOneof("request_union")
        if kind == "create_request" and self._node.access.is_on:
            self._node.access.settle(self._call, lambda: self._create_if_allowed(request.create_request))
        elif kind == "create_request":
            self._create(request.create_request)
        elif kind == "cancel_request":
            self._cancel(request.cancel_request.watch_id)
        elif kind == "progress_request":
            self._progress()

    def on_half_close(self) -> None:
        """The client has no more to ask, and listens: as in etcd, its watchers stay."""

    def on_cancel(self) -> None:
        if self._is_open:
            self._is_open = False
            for watcher in self._watchers.values():
                self._hub.remove(watcher)
            self._watchers.clear()
            self._closed(self._call)

    def _create_if_allowed(self, request: WatchCreateRequest) -> None:
        ranges = [(request.key or b"\0", request.range_end)]
        failure = self._node.access.refusal(
            self._call, lambda identity: self._node.state.guard.refuse_keys(identity, ranges)
        )
        if failure is None and self._is_open:
            self._create(request)
        elif failure is not None:
            self._refuse(errors.as_watch_reason(failure))

    def _create(self, request: WatchCreateRequest) -> None:
        key = request.key or b"\0"
        start, end = layout.bounds(key, request.range_end)
        if request.watch_id and self._is_taken(request.watch_id):
            self._refuse(errors.DUPLICATE_WATCH_ID)
        elif end is not None and end <= start:
            self._refuse(errors.EMPTY_WATCH_RANGE)
        elif request.start_revision < 0:
            self._refuse(errors.NEGATIVE_WATCH_START)
        else:
            self._accept(request, start, end)

    def _refuse(self, reason: str) -> None:
        self._respond(
            self._hub.revision,
            _NO_WATCH_ID,
            _CREATED + _CANCELED + wire.message_field(b"\x32", reason.encode()),
        )

    def _accept(self, request: WatchCreateRequest, start: bytes, end: bytes | None) -> None:
        watch_id = request.watch_id or self._free_id()
        filters = set(request.filters)
        interest = Interest(
            start,
            end,
            no_put=WatchCreateRequest.NOPUT in filters,
            no_delete=WatchCreateRequest.NODELETE in filters,
            previous=request.prev_kv,
        )
        watcher = Watcher(
            self,
            watch_id,
            interest,
            request.start_revision or self._hub.revision + 1,
            progress_notify=request.progress_notify,
            fragment=request.fragment,
        )
        self._watchers[watch_id] = watcher
        self._respond(self._hub.revision, watch_id, _CREATED)
        self._hub.add(watcher)

    def _free_id(self) -> int:
        while self._is_taken(self._next_id):
            self._next_id += 1
        self._next_id += 1
        return self._next_id - 1

    def _is_taken(self, watch_id: int) -> bool:
        return watch_id in self._watchers or watch_id in self._spent

    def _cancel(self, watch_id: int) -> None:
        if not self._is_taken(watch_id):  # etcd is silent about it
            return
        watcher = self._watchers.pop(watch_id, None)
        self._spent.discard(watch_id)
        if watcher is not None:
            self._hub.remove(watcher)
        self._respond(self._hub.revision, watch_id, _CANCELED)

    def _progress(self) -> None:
        """Say how far all watchers of the stream are; say nothing while one is behind, as etcd does."""
        watchers = self._watchers.values()
        if watchers and all(watcher.is_synced for watcher in watchers):
            self._respond(self._hub.revision, _NO_WATCH_ID, b"")

    # ---- from the hub ---------------------------------------------------------------------------------------------

    def send_events(self, watcher: Watcher, revision: int, events: list[bytes]) -> None:
        limit = self._node.limits.max_request_bytes + FRAGMENT_OVERHEAD_BYTES
        if watcher.fragment and sum(map(len, events)) > limit:
            *first, last = _fragments(events, limit)
            for fragment in first:
                self._respond(revision, watcher.watch_id, _FRAGMENT + b"".join(fragment))
            events = last
        self._respond(revision, watcher.watch_id, b"".join(events))

    def send_progress(self, watcher: Watcher, revision: int) -> None:
        self._respond(revision, watcher.watch_id, b"")

    def cancel_compacted(self, watcher: Watcher, compacted: int) -> None:
        self._watchers.pop(watcher.watch_id, None)
        self._spent.add(watcher.watch_id)
        self._respond(0, watcher.watch_id, _CANCELED + wire.number_field(b"\x28", compacted))

    def is_slow(self) -> bool:
        return self._call.pending_bytes > MAX_PENDING_BYTES

    def when_drained(self, callback: Callable[[], None]) -> None:
        self._call.on_drain(callback)

    def _respond(self, revision: int, watch_id: int, rest: bytes) -> None:
        self._call.send(self._node.header(revision) + wire.number_field(b"\x10", watch_id) + rest)


def _fragments(events: list[bytes], limit_bytes: int) -> list[list[bytes]]:
    fragments: list[list[bytes]] = [[]]
    size = 0
    for event in events:
        if fragments[-1] and size + len(event) > limit_bytes:
            fragments.append([])
            size = 0
        fragments[-1].append(event)
        size += len(event)
    return fragments
