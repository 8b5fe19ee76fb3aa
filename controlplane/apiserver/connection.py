"""One TLS connection: its client certificate, and who wants to know when it is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol


class Joining(Protocol):
    """What the connection needs of its transport: writes between `hold` and `release` go out as one."""

    def hold(self) -> None: ...
    def release(self) -> None: ...


Pipes = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Connection:
    """Shared by all requests of one connection."""

    __slots__ = ("_lost", "_take_over", "_transport", "certificate", "is_lost", "is_proxy", "user")

    def __init__(
        self, certificate: bytes | None, transport: Joining, take_over: Callable[[], Pipes] | None = None
    ) -> None:
        self._transport = transport
        self._take_over = take_over
        self.certificate = certificate  # DER of the verified client certificate, or None
        self.user: object | None = None  # the certificate's user, remembered by authn
        self.is_proxy: bool | None = None  # whether it is a front proxy's; None until authn has looked
        self.is_lost = False
        self._lost: list[Callable[[], None]] = []

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Send what is written inside in one piece."""
        self._transport.hold()
        try:
            yield
        finally:
            self._transport.release()

    def take_over(self) -> Pipes:
        """The raw connection, once, in answer to a request to upgrade it; HTTP ends here. The taker closes the writer."""
        assert self._take_over is not None, "this connection cannot be upgraded"
        return self._take_over()

    def on_lost(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call `callback` when the client goes away; the answer takes it back."""
        if self.is_lost:
            callback()
        self._lost.append(callback)

        def forget() -> None:
            if callback in self._lost:
                self._lost.remove(callback)

        return forget

    def lost(self) -> None:
        self.is_lost = True
        callbacks, self._lost = self._lost, []
        for callback in callbacks:
            callback()
