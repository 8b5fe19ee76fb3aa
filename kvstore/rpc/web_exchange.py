"""Requests that are not gRPC on an HTTP/2 connection (curl and Go prefer h2 by ALPN): the HTTP handler answers them too."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable
from http import HTTPStatus
from typing import TYPE_CHECKING

from kvstore.rpc import frames
from kvstore.rpc.call import RequestHead
from kvstore.rpc.frames import ErrorCode
from kvstore.rpc.hpack_memo import encode_field
from kvstore.rpc.http1 import Http1Answer, Http1Handler, Http1Request, Http1Response
from kvstore.rpc.streams import Stream

if TYPE_CHECKING:
    from kvstore.rpc.server_connection import ServerConnection

logger = logging.getLogger("kvstore.rpc")


class WebExchange(Stream):
    """One HTTP request and its answer."""

    __slots__ = ("_body", "_handler", "_head", "_server", "_task")

    def __init__(self, connection: ServerConnection, stream_id: int, head: RequestHead, handler: Http1Handler) -> None:
        super().__init__(connection, stream_id)
        self._server = connection
        self._head = head
        self._handler = handler
        self._body = bytearray()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Nothing to do before the body is whole."""

    def on_data(self, data: bytes, end_stream: bool) -> None:
        """Gather the body."""
        self._body += data
        if len(self._body) > self.connection.limits.http1_body_bytes:
            self._begin(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, {}, end=True)
            self.connection.reset(self, ErrorCode.NO_ERROR)
        elif end_stream:
            self._answer()

    def _answer(self) -> None:
        path, _, query = self._head.path.partition("?")
        request = Http1Request(
            method=self._head.web_method,
            path=path,
            query=query,
            headers=self._head.metadata,
            body=bytes(self._body),
            peer=self._server.peer,
            client_certificate=self._server.client_certificate,
            is_secure=True,  # browsers, of which a handler might be wary, speak HTTP/2 over TLS alone
        )
        try:
            answer = self._handler(request)
        except Exception:
            logger.exception("HTTP handler of %s", path)
            answer = Http1Response(HTTPStatus.INTERNAL_SERVER_ERROR)
        if isinstance(answer, Http1Response) and isinstance(answer.body, bytes):
            self._write_whole(answer, answer.body)
        else:
            self._task = asyncio.get_running_loop().create_task(self._answer_later(answer))

    async def _answer_later(self, answer: Http1Answer | Awaitable[Http1Answer]) -> None:
        try:
            response = await answer if isinstance(answer, Awaitable) else answer
            assert isinstance(response, Http1Response), "a WebSocket was not asked for"
            if isinstance(response.body, bytes):
                self._write_whole(response, response.body)
            else:
                await self._write_pieces(response, response.body)
        except Exception:
            logger.exception("HTTP handler of %s", self._head.path)
            if not self.local_closed:
                self.connection.reset(self, ErrorCode.INTERNAL_ERROR)

    def _begin(self, status: int, headers: dict[str, str], *, end: bool) -> None:
        fields = [encode_field(b":status", b"%d" % status)]
        fields += [encode_field(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
        block = self._server.take_header_prefix() + b"".join(fields)
        self.connection.emit(frames.header_frames(self.stream_id, block, end, self.connection.peer_frame_bytes))
        if end:
            self._close_local()

    def _write_whole(self, response: Http1Response, body: bytes) -> None:
        if self.local_closed:
            return
        headers = {"content-length": str(len(body)), **response.headers}
        is_empty = not body or self._head.web_method == "HEAD"
        self._begin(response.status, headers, end=is_empty)
        if not is_empty:
            self.write(body, True)

    async def _write_pieces(self, response: Http1Response, body: AsyncIterator[bytes]) -> None:
        try:
            self._begin(response.status, dict(response.headers), end=False)
            async for piece in body:
                if self.local_closed:
                    return
                if not piece:
                    continue
                self.write(piece)
                drained = asyncio.get_running_loop().create_future()
                self.on_drain(lambda drained=drained: drained.done() or drained.set_result(None))  # type: ignore[misc]
                await drained
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        if not self.local_closed:
            self.write(b"", True)

    def on_reset(self, code: int) -> None:
        """The client does not want the answer."""
        if self._task is not None:
            self._task.cancel()

    def on_connection_lost(self, text: str) -> None:
        """The client is gone."""
        self.on_reset(ErrorCode.CANCEL)
