"""A streaming call for code that iterates: messages in a queue, back-pressure to the server when nobody takes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from typing import TYPE_CHECKING, Final

from kvstore.rpc.client_connection import ClientCall
from kvstore.rpc.inbox import Inbox
from kvstore.rpc.status import Code, RpcError

if TYPE_CHECKING:
    from kvstore.rpc.channel import Channel

STREAM_QUEUE_BYTES: Final = 1024 * 1024  # messages that the consumer has not taken: above it the server gets no window


class ClientStream:
    """A streaming call: `send`, `half_close`, `cancel`; iterate over the answers (ends at OK, raises RpcError otherwise)."""

    def __init__(self, channel: Channel, path: str, metadata: Mapping[str, str | bytes] | None) -> None:
        self._channel = channel
        self._path = path
        self._metadata = metadata
        self._early: list[Callable[[ClientCall], None]] = []
        self._inbox: Inbox[bytes] = Inbox(STREAM_QUEUE_BYTES)
        self._opening = asyncio.get_running_loop().create_task(self._open())

    async def _open(self) -> None:
        try:
            call = await self._channel.open(self._path, self._metadata, self)
        except RpcError as error:
            self.on_end(error)
            return
        if self._inbox.is_ended:
            call.cancel()
            return
        self._inbox.call = call
        for action in self._early:
            action(call)
        self._early.clear()

    def _do(self, action: Callable[[ClientCall], None]) -> None:
        if self._inbox.call is not None:
            action(self._inbox.call)
        elif not self._inbox.is_ended:
            self._early.append(action)

    @property
    def pending_bytes(self) -> int:
        """Sent by the caller, not yet taken by the server's window."""
        return 0 if self._inbox.call is None else self._inbox.call.pending_bytes

    def send(self, message: bytes) -> None:
        """Send one message (after the end of the call: nothing)."""
        self._do(lambda call: call.send(message))

    def half_close(self) -> None:
        """Send no more."""
        self._do(ClientCall.half_close)

    def cancel(self) -> None:
        """End the call; an iteration that waits raises RpcError(CANCELLED)."""
        if self._inbox.call is not None:
            self._inbox.call.cancel()
        else:
            self._opening.cancel()
        self.on_end(RpcError(Code.CANCELLED, "the caller cancelled the call"))

    def on_message(self, message: bytes) -> None:
        """A message for the queue; a full queue gives the server no more window."""
        self._inbox.put(message, len(message))

    def on_end(self, error: RpcError | None) -> None:
        """The call ended; what is queued can still be taken."""
        self._early.clear()
        self._inbox.end(error)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        return await self._inbox.take()
