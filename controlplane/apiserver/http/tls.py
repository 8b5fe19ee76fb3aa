"""TLS over a transport: a protocol to the transport below, a transport to the protocol above.

asyncio's own (and uvloop's) keeps 35 to 280 KB a connection and spends more on its state machine than OpenSSL on a short
record. This one reads and writes OpenSSL's memory buffers in the call that brought or sends the bytes; OpenSSL gives its
own record buffers back whenever they are empty (SSL_MODE_RELEASE_BUFFERS, which CPython sets).
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Any, Final, cast

RECORD_BYTES: Final = 16 * 1024
WRITE_BYTES: Final = 64 * 1024  # encrypted at once: what OpenSSL's buffer grows to for good
PLAIN_HTTP: Final = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
_METHODS: Final = (b"GET ", b"POST", b"PUT ", b"HEAD", b"PATC", b"DELE", b"OPTI")

Above = Callable[["TlsTransport", str | None], asyncio.Protocol]

logger = logging.getLogger(__name__)


class TlsTransport(asyncio.Transport, asyncio.Protocol):
    """The server's end. `above(transport, ALPN protocol)` makes the protocol that is served, after the handshake."""

    __slots__ = ("_above", "_below", "_incoming", "_is_closing", "_outgoing", "_protocol", "_tls", "on_end")

    def __init__(self, context: ssl.SSLContext, above: Above, on_end: Callable[[TlsTransport], None]) -> None:
        self._above = above
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._below = cast(asyncio.Transport, None)
        self._protocol: asyncio.Protocol | None = None
        self._is_closing = False
        self.on_end = on_end  # called when the connection is lost before its handshake

    # To the transport below.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._below = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._is_closing:
            return
        incoming, tls = self._incoming, self._tls
        incoming.write(data)
        try:
            if self._protocol is None:
                self._shake_hands()
            while True:
                plain = tls.read(RECORD_BYTES)
                if not plain:
                    self.close()  # the client's close_notify
                    return
                cast(asyncio.Protocol, self._protocol).data_received(plain)
                if self._is_closing or not (incoming.pending or tls.pending()):
                    break
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLError as error:
            self._refuse(error, data)
            return
        self._flush()

    def _shake_hands(self) -> None:
        self._tls.do_handshake()
        self._protocol = self._above(self, self._tls.selected_alpn_protocol())
        self._protocol.connection_made(self)

    def _refuse(self, error: ssl.SSLError, data: bytes) -> None:
        if self._protocol is None and data[:4] in _METHODS:
            self._below.write(PLAIN_HTTP)
        else:
            self._flush()  # OpenSSL's alert
        logger.debug("TLS with %s: %s", self._below.get_extra_info("peername"), error)
        self._is_closing = True
        self._below.close()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._below.write(self._outgoing.read())

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._is_closing = True
        protocol, self._protocol = self._protocol, None
        if protocol is not None:
            protocol.connection_lost(exc)
        else:
            self.on_end(self)

    def pause_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.pause_writing()

    def resume_writing(self) -> None:
        if self._protocol is not None:
            self._protocol.resume_writing()

    # To the protocol above.

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self._is_closing:
            return
        tls, outgoing, below = self._tls, self._outgoing, self._below
        if len(data) <= WRITE_BYTES:
            tls.write(data)
            below.write(outgoing.read())
            return
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            tls.write(view[start : start + WRITE_BYTES])
            below.write(outgoing.read())

    def close(self) -> None:
        if self._is_closing:
            return
        self._is_closing = True
        try:
            if self._protocol is not None:
                self._tls.unwrap()  # our close_notify
        except (ssl.SSLError, OSError):
            pass  # the client's need not be waited for
        self._flush()
        self._below.close()

    def abort(self) -> None:
        self._is_closing = True
        if self._below is not None:
            self._below.abort()

    def is_closing(self) -> bool:
        return self._is_closing or self._below.is_closing()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._tls
        return self._below.get_extra_info(name, default)

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        self._protocol = cast(asyncio.Protocol, protocol)

    def get_protocol(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, self._protocol)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self._below.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self._below.get_write_buffer_size()

    def can_write_eof(self) -> bool:
        return False

    def is_reading(self) -> bool:
        return self._below.is_reading()

    def pause_reading(self) -> None:
        if not self.is_closing():
            self._below.pause_reading()

    def resume_reading(self) -> None:
        if not self.is_closing():
            self._below.resume_reading()
