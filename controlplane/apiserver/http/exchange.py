"""One request as ASGI has it: `receive` gives its body, `send` takes its answer; the protocols fill in how it travels."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from controlplane.apiserver.http.head import Header, Scope

Application = Callable[[Scope, Callable[[], Awaitable[Any]], Callable[[Any], Awaitable[None]]], Awaitable[None]]

BODY_HIGH_BYTES: Final = 128 * 1024  # unread body above this: the client is read no further
SEND_BYTES: Final = 256 * 1024  # of a large answer, before the client's speed is looked at

logger = logging.getLogger(__name__)


class Exchange:
    """Subclasses: `head` sends the head, `data` a part of the body, `drained` waits, `wants_body` and `body_taken` are told."""

    __slots__ = ("_body", "_headers", "_is_whole", "_waiting", "code", "ended", "is_gone", "scope", "started", "task")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.task: asyncio.Task[None] | None = None
        self.is_gone = False  # the client will not see any more of the answer
        self.started = False  # the head went out
        self.ended = False  # the answer is whole
        self.code = 0
        self._headers: list[Header] = []
        self._body: list[bytes] | None = None
        self._is_whole = False
        self._waiting: asyncio.Future[None] | None = None

    # What protocols do.

    def head(self, code: int, headers: list[Header], body: bytes, more: bool) -> None:
        """Send the head and the first part of the body (or all of it)."""
        raise NotImplementedError

    def data(self, body: bytes | memoryview, more: bool) -> None:
        """Send a further part; the last when not `more`."""
        raise NotImplementedError

    def wants_body(self) -> None:
        """The application asks for the body, for the first time or again."""

    async def drained(self) -> None:
        """Return when the client takes more, or is gone."""

    def finished(self) -> None:
        """The application returned."""
        raise NotImplementedError

    def fail(self) -> None:
        """The application failed before or within its answer."""
        raise NotImplementedError

    # What protocols tell.

    def begin(self, loop: asyncio.AbstractEventLoop, application: Application) -> None:
        """Serve the request in a task of its own."""
        self.task = loop.create_task(self._run(application))

    def feed(self, data: bytes) -> None:
        """A part of the body arrived."""
        if self._body is None:
            self._body = [data]
        else:
            self._body.append(data)
        self._wake()

    @property
    def unread_bytes(self) -> int:
        return sum(map(len, self._body)) if self._body else 0

    def feed_end(self) -> None:
        """The body is whole."""
        self._is_whole = True
        self._wake()

    def gone(self) -> None:
        """The client went away."""
        self.is_gone = True
        self._wake()

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_result(None)

    # ASGI.

    async def _run(self, application: Application) -> None:
        try:
            await application(self.scope, self.receive, self.send)
        except asyncio.CancelledError:
            self.fail()
            raise
        except Exception:
            logger.exception("%s %s failed", self.scope["method"], self.scope["path"])
            self.fail()
        else:
            if not self.ended and not self.is_gone:
                self.fail()
        finally:
            self.task = None
            self.finished()

    async def receive(self) -> Any:
        """The next part of the body, or `http.disconnect`."""
        while not self._body and not self._is_whole and not self.is_gone:
            self.wants_body()
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        if self.is_gone and not self._is_whole:
            return {"type": "http.disconnect"}
        body, self._body = self._body, None
        if not body:
            return {"type": "http.request", "body": b"", "more_body": False}
        return {
            "type": "http.request",
            "body": body[0] if len(body) == 1 else b"".join(body),
            "more_body": not self._is_whole,
        }

    async def send(self, message: Any) -> None:
        """A part of the answer; waits while the client does not read."""
        if self.is_gone or self.ended:
            return
        if message["type"] == "http.response.start":
            self.code, self._headers = message["status"], message["headers"]
            return
        body, more = message.get("body", b""), message.get("more_body", False)
        if not self.started:
            self.started = True
            headers, self._headers = self._headers, []
            if len(body) <= SEND_BYTES:
                self.head(self.code, headers, body, more)
            else:
                self.head(self.code, headers, b"", True)
                await self._send_large(body, more)
        elif len(body) <= SEND_BYTES:
            self.data(body, more)
        else:
            await self._send_large(body, more)
        if not more:
            self.ended = True
        else:
            await self.drained()

    async def _send_large(self, body: bytes, more: bool) -> None:
        view = memoryview(body)
        for start in range(0, len(view), SEND_BYTES):
            if self.is_gone:
                return
            end = start + SEND_BYTES
            self.data(view[start:end], more or end < len(view))
            await self.drained()
