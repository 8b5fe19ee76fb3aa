"""HTTP/1.1 on the port that speaks gRPC: health, metrics, version, the JSON gateway.  Parsing is httptools'.

Requests of a connection are answered one after the other; while one is being answered only a few more are read. Reading
goes on, so that a client's leaving ends an answer that is still waited for (a lock, a watch). A request for a WebSocket
is answered as any other, or by one (websocket.py), which has the connection from then on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Final

import httptools

from kvstore.rpc.limits import Limits
from kvstore.rpc.websocket import Owner, WebSocketResponse, WebSocketSession, key_of

logger = logging.getLogger("kvstore.rpc")

WAITING_REQUESTS = 8  # of one connection, behind the one that is being answered


@dataclass(frozen=True, slots=True)
class Http1Request:
    """One request. `query` is raw ("a=1&b=2"); header names are lower case, repeated ones joined with ", ".

    With a `websocket_key` it may be answered by a WebSocketResponse.
    """

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    peer: str = ""
    client_certificate: bytes | None = None
    is_secure: bool = False
    websocket_key: str = ""


@dataclass(frozen=True, slots=True)
class Http1Response:
    """One answer. A body that is an iterator is sent in chunks as it comes; the client's leaving closes the iterator."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | AsyncIterator[bytes] = b""


Http1Answer = Http1Response | WebSocketResponse
Http1Handler = Callable[[Http1Request], Http1Answer | Awaitable[Http1Answer]]


class Http1Session:
    """The HTTP/1.1 end of one connection."""

    def __init__(
        self,
        handler: Http1Handler,
        owner: Owner,
        limits: Limits,
        peer: str = "",
        client_certificate: bytes | None = None,
        *,
        is_secure: bool = False,
    ) -> None:
        self._handler = handler
        self._owner = owner
        self._limits = limits
        self._peer = peer
        self._client_certificate = client_certificate
        self._is_secure = is_secure
        self._parser = httptools.HttpRequestParser(self)
        self._requests: deque[tuple[Http1Request, bool]] = deque()  # (request, keep alive)
        self._task: asyncio.Task[None] | None = None
        self._is_closing = False
        self._is_leaving = False
        self._refusal: HTTPStatus | None = None
        self._upgraded: bytearray | None = None  # what came behind a request for a WebSocket that is not open yet
        self._websocket: WebSocketSession | None = None
        self._start_message()

    # httptools' callbacks.

    def on_message_begin(self) -> None:
        """A request begins."""
        self._start_message()

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        self._check_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._check_head(len(name) + len(value))
        key = name.decode("latin-1").lower()
        text = value.decode("latin-1")
        self._headers[key] = f"{self._headers[key]}, {text}" if key in self._headers else text

    def on_headers_complete(self) -> None:
        """The body follows."""
        if self._headers.get("expect", "").lower() == "100-continue":
            self._owner.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._body += body
        if len(self._body) > self._limits.http1_body_bytes:
            self._refusal = HTTPStatus.REQUEST_ENTITY_TOO_LARGE
            raise ValueError("body is too large")

    def on_message_complete(self) -> None:
        """The request is whole."""
        url = httptools.parse_url(self._url)
        method = self._parser.get_method().decode("latin-1")
        request = Http1Request(
            method=method,
            path=(url.path or b"/").decode("latin-1"),
            query=(url.query or b"").decode("latin-1"),
            headers=self._headers,
            body=bytes(self._body),
            peer=self._peer,
            client_certificate=self._client_certificate,
            is_secure=self._is_secure,
            websocket_key=key_of(method, self._headers),
        )
        self._requests.append((request, self._parser.should_keep_alive()))

    def _start_message(self) -> None:
        self._url = b""
        self._headers: dict[str, str] = {}
        self._body = bytearray()
        self._head_bytes = 0

    def _check_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > self._limits.http1_header_bytes:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
            raise ValueError("headers are too large")

    # The life of the session.

    def receive(self, data: bytes) -> None:
        """Take bytes from the client."""
        if self._websocket is not None:
            self._websocket.receive(data)
        elif self._upgraded is not None:
            self._upgraded += data
            self._owner.set_reading(len(self._upgraded) < self._limits.http1_body_bytes)
        elif not self._is_closing:
            self._parse(data)

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._is_leaving = True  # what is not answered by a WebSocket is so as plain HTTP/1.1, and then closed
            self._upgraded = bytearray(data[upgrade.args[0] :])
        except (httptools.HttpParserError, ValueError):
            self._refusal = self._refusal or HTTPStatus.BAD_REQUEST
        self._serve()
        if self._task is not None and len(self._requests) >= WAITING_REQUESTS:
            self._owner.set_reading(False)

    def lose(self) -> None:
        """The client is gone."""
        self._is_closing = True
        self._requests.clear()
        if self._task is not None:
            self._task.cancel()
        if self._websocket is not None:
            self._websocket.lose()

    def leave(self) -> None:
        """Answer what runs, then close."""
        self._is_leaving = True
        if self._websocket is not None:
            self._websocket.leave()
        elif self._task is None:
            self._close()

    def _close(self) -> None:
        self._is_closing = True
        self._owner.close()

    def _serve(self) -> None:
        while self._requests and self._task is None and not self._is_closing:
            request, keep_alive = self._requests.popleft()
            try:
                answer = self._handler(request)
            except Exception:
                logger.exception("HTTP handler of %s", request.path)
                answer = Http1Response(HTTPStatus.INTERNAL_SERVER_ERROR)
            if isinstance(answer, WebSocketResponse):
                self._open(request, answer)
                return
            if isinstance(answer, Http1Response) and isinstance(answer.body, bytes):
                self._write_whole(request, answer, answer.body, keep_alive)
                continue
            self._task = asyncio.get_running_loop().create_task(self._answer(request, answer, keep_alive))
        if self._refusal is not None and self._task is None and not self._is_closing:
            self._owner.write(_head(self._refusal, {"content-length": "0"}, False))
            self._close()

    def _open(self, request: Http1Request, response: WebSocketResponse) -> None:
        early, self._upgraded = bytes(self._upgraded or b""), None
        self._websocket = WebSocketSession(self._owner, response, request.websocket_key, self._limits.http1_body_bytes)
        self._websocket.start()
        if early:
            self._websocket.receive(early)

    async def _answer(
        self, request: Http1Request, answer: Http1Response | Awaitable[Http1Answer], keep_alive: bool
    ) -> None:
        try:
            response = answer if isinstance(answer, Http1Response) else await answer
        except asyncio.CancelledError:
            raise
        except Exception:
            logger.exception("HTTP handler of %s", request.path)
            response = Http1Response(HTTPStatus.INTERNAL_SERVER_ERROR)
        try:
            if isinstance(response, WebSocketResponse):
                self._open(request, response)
            elif isinstance(response.body, bytes):
                self._write_whole(request, response, response.body, keep_alive)
            else:
                await self._write_chunks(response, response.body, keep_alive)
        except ConnectionError:
            return
        finally:
            self._task = None
            self._owner.set_reading(True)
        if not self._is_closing and self._websocket is None:
            self._serve()

    def _write_whole(self, request: Http1Request, response: Http1Response, body: bytes, keep_alive: bool) -> None:
        keep_alive = keep_alive and not self._is_leaving
        headers = {"content-length": str(len(body)), **response.headers}
        payload = b"" if request.method == "HEAD" else body
        self._owner.write(_head(response.status, headers, keep_alive) + payload)
        if not keep_alive:
            self._close()

    async def _write_chunks(self, response: Http1Response, body: AsyncIterator[bytes], keep_alive: bool) -> None:
        self._owner.write(_head(response.status, {**response.headers, "transfer-encoding": "chunked"}, keep_alive))
        try:
            async for chunk in body:
                if chunk:
                    self._owner.write(b"%x\r\n%b\r\n" % (len(chunk), chunk))
                    await self._owner.drained()
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception:
            logger.exception("HTTP body")
            self._close()  # without the last chunk: the client sees that the body is cut
            return
        finally:
            close = getattr(body, "aclose", None)
            if close is not None:
                await close()
        self._owner.write(b"0\r\n\r\n")
        if not keep_alive or self._is_leaving:
            self._close()


_CONNECTION: Final = {True: "", False: "connection: close\r\n"}


def _head(status: int, headers: Mapping[str, str], keep_alive: bool) -> bytes:
    phrase = HTTPStatus(status).phrase if status in HTTPStatus._value2member_map_ else ""
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {int(status)} {phrase}\r\n{lines}{_CONNECTION[keep_alive]}\r\n".encode("latin-1")
