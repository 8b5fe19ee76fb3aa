"""Watches that outlive their connection.

Each watch is one gRPC stream on the client's connection: a watch that fails, lags or asks for progress disturbs no other, and
the server can answer a progress request for it alone. After a loss the watch opens again, on the next endpoint, at the
revision after the last that it handed over; whatever the server sends below that is dropped. So every event is seen once, in
order, or `Compacted` is raised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from typing import Final

from kvstore.client import errors
from kvstore.client.caller import Caller
from kvstore.client.endpoints import Endpoint
from kvstore.pb import kv_pb2, rpc_pb2
from kvstore.rpc import ClientCall, Code, Inbox, RpcError

WATCH: Final = "/etcdserverpb.Watch/Watch"
QUEUE_BYTES: Final = 4 * 1024 * 1024  # batches that the consumer has not taken; above it the server gets no more window
_PROGRESS_REQUEST: Final = rpc_pb2.WatchRequest(progress_request=rpc_pb2.WatchProgressRequest()).SerializeToString()


@dataclass(frozen=True, slots=True)
class WatchBatch:
    """Events in order. `revision`: every event up to it (of this watch) has been handed over, this batch included."""

    revision: int
    events: Sequence[kv_pb2.Event]

    @property
    def is_progress(self) -> bool:
        """No events: only the news that there were none up to `revision`."""
        return not self.events


class Watch:
    """An async iterator of WatchBatch. Ends after `cancel`; raises Compacted or another EtcdError when it cannot go on."""

    def __init__(
        self, caller: Caller, create: rpc_pb2.WatchCreateRequest, on_over: Callable[[Watch], None]
    ) -> None:
        self._caller = caller
        self._on_over = on_over
        self._create = create
        self._next_revision = create.start_revision  # 0: not yet known
        self._endpoint: Endpoint | None = None
        self._inbox: Inbox[WatchBatch] = Inbox(QUEUE_BYTES)
        self._fragments: list[kv_pb2.Event] = []
        self._started: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._started.add_done_callback(lambda future: future.cancelled() or future.exception())
        self._progress_wanted = False
        self._task: asyncio.Task[None] | None = asyncio.get_running_loop().create_task(self._open(0.0))

    async def started(self) -> int:
        """Wait for the server's confirmation; its revision: a watch without start revision sees every event after it."""
        return await asyncio.shield(self._started)

    async def request_progress(self) -> None:
        """Ask the server for a progress batch: it comes once every event up to its revision was handed over."""
        if self._inbox.call is None:
            self._progress_wanted = True  # asked when the stream is up
        else:
            self._inbox.call.send(_PROGRESS_REQUEST)

    def cancel(self) -> None:
        """End the watch; batches that are queued can still be taken."""
        self._end(None)

    # The stream.

    async def _open(self, pause: float) -> None:
        while not self._inbox.is_ended:
            await asyncio.sleep(pause)
            self._endpoint = endpoint = self._caller.endpoints.current
            try:
                metadata = await self._caller.stream_metadata(require_leader=True)
                call = await endpoint.channel.open(WATCH, metadata, self)
            except RpcError as error:
                pause = self._caller.on_failure(endpoint, error)
                if not self._caller.is_reconnectable(error):
                    self._end(errors.from_rpc(error))
                continue
            except errors.EtcdError as failure:
                if not isinstance(failure, errors.Unavailable | errors.DeadlineExceeded):
                    self._end(failure)
                continue
            self._start(call)
            return

    def _start(self, call: ClientCall) -> None:
        self._task = None
        if self._inbox.is_ended:
            call.cancel()
            return
        self._inbox.call = call
        self._fragments.clear()
        create = rpc_pb2.WatchCreateRequest()
        create.CopyFrom(self._create)
        create.start_revision = self._next_revision
        call.send(rpc_pb2.WatchRequest(create_request=create).SerializeToString())
        if self._progress_wanted:
            self._progress_wanted = False
            call.send(_PROGRESS_REQUEST)

    def on_message(self, message: bytes) -> None:
        """One WatchResponse."""
        response = rpc_pb2.WatchResponse.FromString(message)
        if response.canceled:
            self._end(self._cancelled(response))
        elif response.created:
            self._on_created(response.header.revision)
        else:
            self._on_events(response, len(message))

    def _cancelled(self, response: rpc_pb2.WatchResponse) -> errors.EtcdError:
        if response.compact_revision:
            text = "etcdserver: mvcc: required revision has been compacted"
            return errors.Compacted(Code.OUT_OF_RANGE, text, compact_revision=response.compact_revision)
        return errors.from_cancel_reason(response.cancel_reason)

    def _on_created(self, revision: int) -> None:
        if self._endpoint is not None:
            self._caller.endpoints.on_success(self._endpoint)
        if not self._next_revision:
            self._next_revision = revision + 1
        if not self._started.done():
            self._started.set_result(revision)

    def _on_events(self, response: rpc_pb2.WatchResponse, size: int) -> None:
        events: Sequence[kv_pb2.Event] = response.events
        if response.fragment or self._fragments:
            self._fragments.extend(events)
            if response.fragment:
                return
            events, self._fragments = self._fragments, []
        if events:
            if events[0].kv.mod_revision < self._next_revision:
                events = [event for event in events if event.kv.mod_revision >= self._next_revision]
                if not events:
                    return
            revision = events[-1].kv.mod_revision
        else:
            revision = response.header.revision
            if revision + 1 < self._next_revision:
                return  # progress behind what was handed over: of no use
        self._next_revision = max(self._next_revision, revision + 1)
        self._inbox.put(WatchBatch(revision, events), size)

    def on_end(self, error: RpcError | None) -> None:
        """The stream is gone: open it again, or give up."""
        endpoint, self._inbox.call = self._endpoint, None
        if self._inbox.is_ended:
            return
        if error is not None and not self._caller.is_reconnectable(error):
            self._end(errors.from_rpc(error))
            return
        if self._caller.is_closed:
            self._end(errors.Cancelled(Code.CANCELLED, "the client is closed"))
            return
        lost = error or RpcError(Code.UNAVAILABLE, "the server ended the watch stream")
        pause = 0.0 if endpoint is None else self._caller.on_failure(endpoint, lost)
        self._task = asyncio.get_running_loop().create_task(self._open(pause))

    def _end(self, error: errors.EtcdError | None) -> None:
        if self._inbox.is_ended:
            return
        self._inbox.end(error)
        if not self._started.done():
            self._started.set_exception(error or errors.Cancelled(Code.CANCELLED, "the watch was cancelled"))
        call, self._inbox.call = self._inbox.call, None
        if call is not None:
            call.cancel()
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()
        self._on_over(self)

    # The consumer.

    def __aiter__(self) -> AsyncIterator[WatchBatch]:
        return self

    async def __anext__(self) -> WatchBatch:
        return await self._inbox.take()
