"""The JSON gateway: `POST /v3/...` (and /v3beta/...) as etcd's grpc-gateway answers it.

Requests and answers are protobuf's JSON with the names of the .proto files: 64-bit integers as strings, bytes in base64,
zero fields left out, unknown fields ignored. A stream answers one `{"result": ...}` a line. An error has its text twice
and the gRPC code: clients of etcd before 3.6 read `error`, later ones `message`.

A WebSocket (`GET` with `Upgrade: websocket`, as browsers open it) is the same with pieces of the body as its messages and a
line of the answer in each of ours; streams of requests go on as long as it is open. It takes the token of its user also from
`Sec-WebSocket-Protocol: Bearer, TOKEN` and from a cookie `token`, because a page can set no other header.

The methods' types come from the descriptors; a request goes to the same handlers as one over gRPC, with the HTTP
headers `Authorization` and `Grpc-Metadata-*` as its metadata, and without the certificate of its connection.
"""

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from typing import Any

from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from kvstore.api.gateway_json import RequestStream, parse_requests, to_json
from kvstore.api.local_call import LocalCall, Routes
from kvstore.pb import election_pb2, lock_pb2, rpc_pb2
from kvstore.rpc import Code, Http1Answer, Http1Request, Http1Response, WebSocketResponse
from kvstore.rpc.status import decode_timeout

__all__ = ["Gateway"]

PREFIXES = ("/v3/", "/v3beta/")
_JSON = {"content-type": "application/json"}
_METADATA_HEADER = "grpc-metadata-"
_STREAM_PIECES = 64  # messages joined into one write

_PATHS = {
    "KV": {"Range": "kv/range", "Put": "kv/put", "DeleteRange": "kv/deleterange", "Txn": "kv/txn", "Compact": "kv/compaction"},
    "Watch": {"Watch": "watch"},
    "Lease": {
        "LeaseGrant": "lease/grant",
        "LeaseRevoke": "lease/revoke kv/lease/revoke",
        "LeaseKeepAlive": "lease/keepalive",
        "LeaseTimeToLive": "lease/timetolive kv/lease/timetolive",
        "LeaseLeases": "lease/leases kv/lease/leases",
    },
    "Cluster": {f"Member{name}": f"cluster/member/{name.lower()}" for name in ("Add", "Remove", "Update", "List", "Promote")},
    "Maintenance": {
        **{name: f"maintenance/{name.lower()}" for name in ("Alarm", "Status", "Defragment", "Hash", "HashKV", "Snapshot")},
        "MoveLeader": "maintenance/transfer-leadership",
        "Downgrade": "maintenance/downgrade",
    },
    "Auth": {
        "AuthEnable": "auth/enable",
        "AuthDisable": "auth/disable",
        "AuthStatus": "auth/status",
        "Authenticate": "auth/authenticate",
        **{f"User{name}": f"auth/user/{name.lower()}" for name in ("Add", "Get", "List", "Delete")},
        "UserChangePassword": "auth/user/changepw",
        "UserGrantRole": "auth/user/grant",
        "UserRevokeRole": "auth/user/revoke",
        **{f"Role{name}": f"auth/role/{name.lower()}" for name in ("Add", "Get", "List", "Delete")},
        "RoleGrantPermission": "auth/role/grant",
        "RoleRevokePermission": "auth/role/revoke",
    },
    "Lock": {"Lock": "lock/lock", "Unlock": "lock/unlock"},
    "Election": {name: f"election/{name.lower()}" for name in ("Campaign", "Proclaim", "Leader", "Observe", "Resign")},
}
_FILES = (rpc_pb2, lock_pb2, election_pb2)

_HTTP_STATUS: Mapping[int, int] = {
    Code.OK: 200,
    Code.CANCELLED: 408,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.ALREADY_EXISTS: 409,
    Code.PERMISSION_DENIED: 403,
    Code.UNAUTHENTICATED: 401,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.FAILED_PRECONDITION: 400,
    Code.ABORTED: 409,
    Code.OUT_OF_RANGE: 400,
    Code.UNIMPLEMENTED: 501,
    Code.UNAVAILABLE: 503,
}
_OTHER_STATUS = 500


@dataclass(frozen=True, slots=True)
class _Method:
    """One RPC as its descriptor has it."""

    path: str
    request: type[Message]
    response: type[Message]
    is_streaming: bool
    is_stream_of_requests: bool

    @property
    def nonsense(self) -> Code:
        """What etcd's gateway calls a request that it cannot read."""
        return Code.UNKNOWN if self.is_stream_of_requests else Code.INVALID_ARGUMENT


def _methods() -> dict[str, _Method]:
    """Return the RPCs by the rest of their JSON path."""
    methods: dict[str, _Method] = {}
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for method in service.methods:
                found = _Method(
                    f"/{service.full_name}/{method.name}",
                    GetMessageClass(method.input_type),
                    GetMessageClass(method.output_type),
                    method.server_streaming,
                    method.client_streaming,
                )
                for path in _PATHS.get(service.name, {}).get(method.name, "").split():
                    methods[path] = found
    return methods


class Gateway:
    """Answers HTTP requests with the handlers of `routes`."""

    def __init__(self, routes: Routes) -> None:
        self._routes = routes
        self._methods = _methods()

    @staticmethod
    def serves(path: str) -> bool:
        """Tell whether the path is the gateway's."""
        return path.startswith("/v3")

    async def http(self, request: Http1Request) -> Http1Answer:
        """Answer a request whose path `serves` is true of."""
        prefix = next((prefix for prefix in PREFIXES if request.path.startswith(prefix)), None)
        method = None if prefix is None else self._methods.get(request.path.removeprefix(prefix))
        if method is None:
            return _error(404, Code.NOT_FOUND, "Not Found")
        if request.websocket_key:
            return _Conversation(method, request, self._routes).answer()
        if request.method != "POST":
            return _error(405, Code.UNIMPLEMENTED, "Method Not Allowed")
        try:
            messages = parse_requests(method.request, request.body, many=method.is_streaming)
        except ValueError as error:
            return _error(_HTTP_STATUS.get(method.nonsense, _OTHER_STATUS), method.nonsense, str(error))
        exchange = _Exchange(method, request)
        exchange.call.start(self._routes.get(method.path), messages)
        return await (exchange.stream() if method.is_streaming else exchange.unary())


class _Exchange:
    """One request on its way through a handler."""

    def __init__(
        self, method: _Method, request: Http1Request, token: str = "", on_hold: Callable[[bool], None] | None = None
    ) -> None:
        self._method = method
        self._messages: deque[bytes] = deque()
        self._end: tuple[int, str] | None = None
        self._news = asyncio.Event()
        metadata, timeout = _metadata(request.headers)
        if token:
            metadata["authorization"] = token
        loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        if timeout is not None:
            self._deadline = loop.call_later(timeout, self._on_deadline)
        self.call = LocalCall(
            method.path,
            metadata,
            on_message=self._on_message,
            on_end=self._on_end,
            peer=request.peer,
            deadline=None if timeout is None else loop.time() + timeout,
            on_hold=on_hold,
        )

    def _on_message(self, message: bytes) -> None:
        self._messages.append(message)
        self.call.pending_bytes += len(message)
        self._news.set()

    def _on_end(self, code: int, text: str) -> None:
        self._end = (code, text)
        self._news.set()

    def _on_deadline(self) -> None:
        self.call.cancel()
        self._on_end(Code.DEADLINE_EXCEEDED, "context deadline exceeded")

    def close(self) -> None:
        """Nobody waits for the answer, or it is given."""
        if self._deadline is not None:
            self._deadline.cancel()
        self.call.cancel()

    def end(self, code: int, text: str) -> None:
        """Answer no more but this."""
        self.close()
        self._messages.clear()
        self._on_end(code, text)

    async def unary(self) -> Http1Response:
        try:
            while self._end is None:
                self._news.clear()
                await self._news.wait()
        finally:
            self.close()
        code, text = self._end
        if code != Code.OK or not self._messages:
            return _error(_HTTP_STATUS.get(code, _OTHER_STATUS), code, text)
        return Http1Response(200, _JSON, _dump(self._json(self._messages[0])))

    async def stream(self) -> Http1Response:
        """Answer when there is something to say: the status tells of a stream that fails at once."""
        try:
            while self._end is None and not self._messages:
                self._news.clear()
                await self._news.wait()
        except BaseException:
            self.close()
            raise
        status = 200 if self._messages or self._end is None else _HTTP_STATUS.get(self._end[0], _OTHER_STATUS)
        return Http1Response(status, _JSON, self._joined())

    async def _joined(self) -> AsyncIterator[bytes]:
        try:
            async for lines in self.lines():
                yield b"".join(line + b"\n" for line in lines)
        finally:
            self.close()

    async def lines(self) -> AsyncIterator[list[bytes]]:
        """Yield the lines of the answer as they come, a few together. The caller closes the exchange."""
        while True:
            lines = [self._line(self._messages.popleft()) for _ in range(min(len(self._messages), _STREAM_PIECES))]
            if lines:
                yield lines
            elif self._end is not None:
                break
            else:
                self.call.drained()
                self._news.clear()
                if not self._messages and self._end is None:
                    await self._news.wait()
        code, text = self._end
        if code != Code.OK:
            yield [_dump({"error": _stream_error(code, text)} if self._method.is_streaming else _error_body(code, text))]

    def _line(self, message: bytes) -> bytes:
        found = self._json(message)
        return _dump({"result": found} if self._method.is_streaming else found)

    def _json(self, message: bytes) -> dict[str, Any]:
        return to_json(self._method.response.FromString(message))


class _Conversation:
    """One method over a WebSocket. Of a method that takes one request, the first is answered."""

    def __init__(self, method: _Method, request: Http1Request, routes: Routes) -> None:
        self._method = method
        self._route = routes.get(method.path)
        self._subprotocol = request.headers.get("sec-websocket-protocol", "")
        self._exchange = _Exchange(method, request, _token(request.headers), self._hold)
        self._requests = RequestStream(method.request)
        self._hold_client: Callable[[bool], None] | None = None
        self._is_begun = False
        self._is_deaf = False
        self._refusal = b""

    def answer(self) -> WebSocketResponse:
        headers = {"sec-websocket-protocol": "Bearer"} if self._subprotocol.startswith("Bearer") else {}
        return WebSocketResponse(self._on_message, self._lines(), self._exchange.close, headers, self._start)

    def _start(self, hold: Callable[[bool], None]) -> None:
        self._hold_client = hold

    def _hold(self, is_held: bool) -> None:
        if self._hold_client is not None:
            self._hold_client(is_held)

    def _on_message(self, piece: bytes) -> None:
        if self._is_deaf:
            return
        try:
            requests = self._requests.feed(piece)
        except ValueError as error:
            self._on_nonsense(str(error))
            return
        if requests and not self._is_begun:
            self._is_begun = True
            if not self._method.is_stream_of_requests:
                self._is_deaf = True
                self._exchange.call.start(self._route, requests[:1])
                return
            self._exchange.call.open(self._route)
        for request in requests:
            self._exchange.call.feed(request)

    def _on_nonsense(self, text: str) -> None:
        """Nothing that follows can be understood. What was asked before is still answered."""
        if self._is_begun:
            self._exchange.call.half_close()
        else:
            self._refusal = _dump(_error_body(self._method.nonsense, text))
            self._exchange.end(Code.OK, "")
        self._is_deaf = True

    async def _lines(self) -> AsyncIterator[bytes]:
        async for lines in self._exchange.lines():
            for line in lines:
                yield line
        if self._refusal:
            yield self._refusal


def _token(headers: Mapping[str, str]) -> str:
    """Return what a page has instead of an Authorization header."""
    try:
        cookie = SimpleCookie(headers.get("cookie", "")).get("token")
    except CookieError:
        cookie = None
    protocol = headers.get("sec-websocket-protocol", "")
    return cookie.value if cookie is not None else protocol.partition("Bearer,")[2].strip()


def _metadata(headers: Mapping[str, str]) -> tuple[dict[str, str], float | None]:
    metadata = {"grpcgateway-accept": headers.get("accept", "")}
    for name, value in headers.items():
        if name.startswith(_METADATA_HEADER):
            metadata[name.removeprefix(_METADATA_HEADER)] = value
    if "authorization" in headers:
        metadata["authorization"] = headers["authorization"]
    return metadata, decode_timeout(headers.get("grpc-timeout", ""))


def _dump(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


def _error(status: int, code: int, text: str) -> Http1Response:
    return Http1Response(status, _JSON, _dump(_error_body(code, text)))


def _error_body(code: int, text: str) -> dict[str, Any]:
    return {"error": text, "code": int(code), "message": text}


def _stream_error(code: int, text: str) -> dict[str, Any]:
    status = _HTTP_STATUS.get(code, _OTHER_STATUS)
    return {"grpc_code": int(code), "http_code": status, "code": int(code), "message": text}
