"""A connection as requests see it: its client certificate, who wants to know when it is lost, and how to take it over."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

Pipes = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Peer:
    """The other end of one TLS connection, and what authentication found out about it: shared by all its requests."""

    __slots__ = ("address", "certificate", "is_proxy", "user")

    def __init__(self, certificate: bytes | None, address: tuple[str, ...] | None = None) -> None:
        self.address = address[0] if address else ""  # its IP address
        self.certificate = certificate  # DER of the verified client certificate, or None
        self.user: object | None = None  # the certificate's user, remembered by authn
        self.is_proxy: bool | None = None  # whether it is a front proxy's; None until authn has looked


class Connection:
    """What carries a request: shared by all requests of an HTTP/1.1 connection, one of its own for each on HTTP/2."""

    __slots__ = ("_lost", "_peer", "_take_over", "abort", "is_lost")

    def __init__(self, peer: Peer, abort: Callable[[], None], take_over: Callable[[], Pipes] | None = None) -> None:
        self._peer = peer
        self._take_over = take_over
        self.abort = abort  # cut it: the client does not read
        self.is_lost = False
        self._lost: list[Callable[[], None]] = []

    @property
    def address(self) -> str:
        return self._peer.address

    @property
    def certificate(self) -> bytes | None:
        return self._peer.certificate

    @property
    def user(self) -> object | None:
        return self._peer.user

    @user.setter
    def user(self, user: object) -> None:
        self._peer.user = user

    @property
    def is_proxy(self) -> bool | None:
        return self._peer.is_proxy

    @is_proxy.setter
    def is_proxy(self, is_proxy: bool) -> None:
        self._peer.is_proxy = is_proxy

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
