"""One request while it is served, and the two forms of an answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from controlplane.apiserver import negotiate
from controlplane.apiserver.request import RequestInfo, is_true
from controlplane.apiserver.storage.codec import Object
from controlplane.objects import status
from controlplane.objects.kinds import Resource

if TYPE_CHECKING:
    from controlplane.apiserver.audit import Record
    from controlplane.apiserver.authn.user import User
    from controlplane.apiserver.connection import Connection
    from controlplane.apiserver.fairness.fairness import Flow
    from controlplane.apiserver.services import Services

MAX_BODY_BYTES: Final = 3 * 1024 * 1024
_FOR_EYES: Final = (b"curl", b"Wget", b"Mozilla/5.0")
_JSON_ALONE: Final = frozenset({"", "*/*", negotiate.JSON})

Receive = Callable[[], Awaitable[Any]]
Header = tuple[bytes, bytes]
SendChunk = Callable[[bytes], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer. A long list is not joined in memory: it is `body`, then `rest` in pieces of `rest_bytes` together."""

    body: bytes
    code: int = 200
    media_type: str = negotiate.JSON
    headers: tuple[Header, ...] = ()
    rest: Iterable[bytes] = ()
    rest_bytes: int = 0

    def whole(self) -> bytes:
        """All of it, joined."""
        return b"".join((self.body, *self.rest))


@dataclass(frozen=True, slots=True)
class Stream:
    """An answer in chunks: `run` is given a function that sends one and waits while the client does not read."""

    run: Callable[[SendChunk], Awaitable[None]]
    code: int = 200
    media_type: str = negotiate.JSON
    headers: tuple[Header, ...] = ()


@dataclass(frozen=True, slots=True)
class Upgraded:
    """The connection changes its protocol: `run` takes it over, answers 101 itself and returns at the connection's end."""

    run: Callable[[], Awaitable[None]]
    code: int = 101


Result = Answer | Stream | Upgraded


@dataclass(slots=True)
class Context:
    """A request: what it asks, who asks, and the services that answer it."""

    services: Services
    method: str
    info: RequestInfo
    query: dict[str, str]
    raw_query: bytes
    all_headers: list[Header]
    headers: dict[bytes, bytes]
    user: User
    receive: Receive
    connection: Connection
    audit_id: str
    warnings: list[str] = field(default_factory=list)
    flow: Flow | None = None  # of priority and fairness, once the user is known
    is_late: bool = False  # its time is over
    audit: Record | None = None  # while the audit log wants to know of this request
    annotations: dict[str, str] = field(default_factory=dict)  # of its audit event

    def header(self, name: bytes) -> str:
        """A header by its lower-case name; empty when absent."""
        return self.headers.get(name, b"").decode("latin-1")

    def accepted(self, *, tables: bool = True) -> negotiate.Accepted:
        """What the answer may be; raises 406. Custom resources have no protobuf form."""
        header = self.header(b"accept")
        protobuf = header not in _JSON_ALONE and self._has_protobuf()
        return negotiate.accept(header, tables=tables, protobuf=protobuf)

    def _has_protobuf(self) -> bool:
        path = self.info.path
        found = self.services.scheme.find(path.group, path.version, path.resource)
        return found is None or type(found.resource) is Resource

    @property
    def is_dry_run(self) -> bool:
        """Whether nothing may be stored; raises 400 on anything but `All`."""
        value = self.query.get("dryRun")
        if value in (None, ""):
            return False
        if value != "All":
            raise status.bad_request(f'dryRun: Unsupported value: "{value}": supported values: "All"')
        return True

    @property
    def is_pretty(self) -> bool:
        """Whether JSON is for a person's eyes: said so, or asked by a program that people look through."""
        said = self.query.get("pretty")
        if said is not None:
            return is_true(said)
        return self.headers.get(b"user-agent", b"").startswith(_FOR_EYES)

    async def body(self) -> bytes:
        """The whole body; raises 413 when it is longer than MAX_BODY_BYTES."""
        parts: list[bytes] = []
        size = 0
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            part = message.get("body", b"")
            size += len(part)
            if size > MAX_BODY_BYTES:
                raise status.request_entity_too_large(f"limit is {MAX_BODY_BYTES}")
            parts.append(part)
            if not message.get("more_body"):
                whole = parts[0] if len(parts) == 1 else b"".join(parts)
                if self.audit is not None and self.audit.wants_body:
                    self.audit.body = whole
                return whole

    def answer(self, value: Object, code: int = 200) -> Answer:
        """A document that is no object of the store, in the form that the client accepts."""
        accepted = self.accepted(tables=False)
        return Answer(negotiate.render(value, accepted.media_type), code, accepted.media_type)


class ClientGone(Exception):
    """The client went away before its request was whole."""
