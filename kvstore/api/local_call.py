"""A call that comes from within: to the handlers it looks like one from the wire, so that each request is decoded,
checked and permitted in one place. The JSON gateway, locks and elections ask this way, in their client's name.

    call = LocalCall(path, metadata, on_message=..., on_end=...)
    call.start(routes[path], [request bytes]);  call.cancel()
    call.open(routes[path]); call.feed(request bytes); call.half_close()      a stream, message by message
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol, TypeVar, cast

from google.protobuf.message import Message

from kvstore.rpc import Call, Code, Receiver, Streaming, Unary

__all__ = ["LocalCall", "Routes", "ask"]

Routes = Mapping[str, Unary | Streaming]
_Response = TypeVar("_Response", covariant=True)


class _ResponseType(Protocol[_Response]):
    def FromString(self, serialized: bytes, /) -> _Response: ...


class LocalCall:
    """`on_message(bytes)` for each answer, then `on_end(code, text)`, once; neither after `cancel`.

    `on_hold(True)`: feed no more; `on_hold(False)`: feed again. `pending_bytes` is the owner's: what it has taken but not
    passed on. It calls `drained()` when nothing is left.
    """

    def __init__(
        self,
        path: str,
        metadata: Mapping[str, str],
        *,
        on_message: Callable[[bytes], None],
        on_end: Callable[[int, str], None],
        peer: str = "",
        client_certificate: bytes | None = None,
        deadline: float | None = None,
        on_hold: Callable[[bool], None] | None = None,
    ) -> None:
        self.path = path
        self.metadata = metadata
        self.peer = peer
        self.client_certificate = client_certificate
        self.deadline = deadline
        self.is_open = True
        self.pending_bytes = 0
        self._on_message = on_message
        self._on_end = on_end
        self._on_hold = on_hold
        self._receiver: Receiver | None = None
        self._cancel_callback: Callable[[], None] | None = None
        self._drain_callbacks: list[Callable[[], None]] = []

    def start(self, route: Unary | Streaming | None, messages: Iterable[bytes]) -> None:
        """Hand the request to its handler; of a stream, all that the client will say."""
        if isinstance(route, Unary):
            route.handler(self.as_call(), next(iter(messages)))
        elif self.open(route):
            for message in messages:
                self.feed(message)
            self.half_close()

    def open(self, route: Unary | Streaming | None) -> bool:
        """Begin a stream whose messages `feed` brings; False: there is none, and the call has failed."""
        if not isinstance(route, Streaming):
            self.fail(Code.UNIMPLEMENTED, f"unknown method {self.path}")
            return False
        self._receiver = route.handler(self.as_call())
        return True

    def feed(self, message: bytes) -> None:
        """Hand over one message of the client's."""
        if self.is_open and self._receiver is not None:
            self._receiver.on_message(message)

    def half_close(self) -> None:
        """The client has said all."""
        if self.is_open and self._receiver is not None:
            self._receiver.on_half_close()

    def as_call(self) -> Call:
        """What the handlers' types ask for."""
        return cast(Call, self)

    def cancel(self) -> None:
        """Nobody waits for the answer any more."""
        if self.is_open:
            self.is_open = False
            if self._receiver is not None:
                self._receiver.on_cancel()
            if self._cancel_callback is not None:
                self._cancel_callback()

    def drained(self) -> None:
        """The owner has passed on all it was given."""
        self.pending_bytes = 0
        callbacks, self._drain_callbacks = self._drain_callbacks, []
        for callback in callbacks:
            if self.is_open:
                callback()

    # ---- what the handlers use ------------------------------------------------------------------------------------

    def send_head(self) -> None:
        """There is no head."""

    def send(self, message: bytes) -> None:
        """Hand an answer to the owner."""
        if self.is_open:
            self._on_message(message)

    def finish(self) -> None:
        """End well."""
        self.fail(Code.OK, "")

    def reply(self, message: bytes) -> None:
        """`send` and `finish` in one."""
        self.send(message)
        self.finish()

    def fail(self, code: int, text: str) -> None:
        """End with a status."""
        if self.is_open:
            self.is_open = False
            self._on_end(code, text)

    def on_cancel(self, callback: Callable[[], None]) -> None:
        """Remember whom to tell that nobody waits."""
        self._cancel_callback = callback

    def on_drain(self, callback: Callable[[], None]) -> None:
        """Call back once nothing is pending, maybe now."""
        if self.pending_bytes:
            self._drain_callbacks.append(callback)
        else:
            callback()

    def hold(self) -> None:
        """Ask the owner for no more messages, if it has a client that brings them one by one."""
        if self._on_hold is not None:
            self._on_hold(True)

    def release(self) -> None:
        """Ask for messages again."""
        if self._on_hold is not None:
            self._on_hold(False)


def ask(
    routes: Routes,
    call: Call,
    path: str,
    request: Message,
    response_type: _ResponseType[_Response],
    then: Callable[[_Response], None],
    failed: Callable[[str], None] | None = None,
) -> None:
    """Ask one of our own unary methods in the name of `call`'s client; `then` gets the answer.

    Where it fails, `call` fails with the same text, unless `failed(text)` is given. The code becomes Unknown, as in etcd,
    whose locks and elections are clients of its own.
    """

    def on_end(code: int, text: str) -> None:
        if code == Code.OK:
            return
        if failed is None:
            call.fail(Code.UNKNOWN, text)
        else:
            failed(text)

    local = LocalCall(
        path,
        call.metadata,
        on_message=lambda answer: then(response_type.FromString(answer)),
        on_end=on_end,
        peer=call.peer,
        client_certificate=call.client_certificate,
    )
    local.start(routes.get(path), [request.SerializeToString()])
