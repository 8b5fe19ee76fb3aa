"""Health: gRPC's own checking protocol, and over HTTP /health, /livez, /readyz, /version, /metrics."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import CLUSTER_VERSION, SERVER_VERSION, Node
from kvstore.member.ports import Failed, Result
from kvstore.pb.health_pb2 import HealthCheckRequest, HealthCheckResponse
from kvstore.pb.rpc_pb2 import CORRUPT, AlarmType
from kvstore.rpc import Call, Http1Request, Http1Response, Receiver, Streaming, Unary

__all__ = ["HealthService"]

_SERVING = HealthCheckResponse(status=HealthCheckResponse.SERVING).SerializeToString()
_SERVICE_UNKNOWN = HealthCheckResponse(status=HealthCheckResponse.SERVICE_UNKNOWN).SerializeToString()
_NO_LEADER_REASON = "RAFT NO LEADER"
_PLAIN = {"content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff"}
_JSON = {"content-type": "application/json"}

Check = Callable[[Node], Awaitable[str | None]]


async def _is_alive(node: Node) -> str | None:
    """The loop turns and the state answers: that is what a local read shows."""
    node.state.newest(b"\0")
    return None


async def _is_sound(node: Node) -> str | None:
    return "alarm activated: CORRUPT" if node.state.listed_alarms(CORRUPT) else None


async def _is_linearizable(node: Node) -> str | None:
    """Return None when a quorum confirms a read, else what it said."""
    answered: asyncio.Future[str | None] = asyncio.get_running_loop().create_future()

    def finish(result: Result) -> None:
        if not answered.done():
            answered.set_result(result.text if isinstance(result, Failed) else None)

    node.member.read(finish)
    return await answered


async def _is_voter(node: Node) -> str | None:
    return errors.NOT_FOR_LEARNER.text if node.member.status().is_learner else None


_LIVE_CHECKS: dict[str, Check] = {"serializable_read": _is_alive}
_READY_CHECKS: dict[str, Check] = {
    "data_corruption": _is_sound,
    "serializable_read": _is_alive,
    "linearizable_read": _is_linearizable,
    "non_learner": _is_voter,
}


class HealthService:
    """The handlers of grpc.health.v1.Health and of the HTTP side. `metrics` renders the metrics page."""

    def __init__(self, node: Node, metrics: Callable[[], str]) -> None:
        self._node = node
        self._metrics = metrics
        self.successes = self.failures = 0  # answers to /health

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the gRPC handlers by path."""
        return {
            "/grpc.health.v1.Health/Check": Unary(self.check),
            "/grpc.health.v1.Health/Watch": Streaming(self.watch),
        }

    def check(self, call: Call, message: bytes) -> None:
        """Answer Check: the server as a whole is known, nothing else."""
        request = decode(call, HealthCheckRequest, message)
        if request is not None and request.service:
            errors.refuse(call, errors.UNKNOWN_HEALTH_SERVICE)
        elif request is not None:
            call.reply(_SERVING)

    def watch(self, call: Call) -> Receiver:
        """Answer Watch: a member that answers is serving; its end is the end of the stream."""
        return _HealthWatch(call)

    async def http(self, request: Http1Request) -> Http1Response:
        """Answer a request over HTTP/1.1."""
        path = request.path.rstrip("/") or "/"
        if request.method not in ("GET", "HEAD"):
            return Http1Response(405, {**_PLAIN, "allow": "GET"}, b"Method Not Allowed\n")
        if path == "/version":
            versions = {"etcdserver": SERVER_VERSION, "etcdcluster": CLUSTER_VERSION, "storage": CLUSTER_VERSION}
            return Http1Response(200, _JSON, json.dumps(versions, separators=(",", ":")).encode())
        if path == "/metrics":
            return Http1Response(200, {"content-type": "text/plain; version=0.0.4"}, self._metrics().encode())
        if path == "/health":
            return await self._health(request)
        for prefix, checks in (("/livez", _LIVE_CHECKS), ("/readyz", _READY_CHECKS)):
            if path == prefix:
                return await self._report(checks, request)
            if path.startswith(prefix + "/") and path[len(prefix) + 1 :] in checks:
                name = path[len(prefix) + 1 :]
                return await self._report({name: checks[name]}, request)
        return Http1Response(404, _PLAIN, b"404 page not found\n")

    async def _health(self, request: Http1Request) -> Http1Response:
        query = parse_qs(request.query)
        excluded = set(query.get("exclude", []))
        raised = {AlarmType.Name(one.alarm) for one in self._node.state.listed_alarms()} - excluded
        reason = f"ALARM {min(raised)}" if raised else ""
        if not reason and not self._node.member.leader:
            reason = _NO_LEADER_REASON
        elif not reason and query.get("serializable", ["false"])[0] != "true":
            failure = await _is_linearizable(self._node)
            reason = "" if failure is None else f"RANGE ERROR:{failure}"
        self.successes += not reason
        self.failures += bool(reason)
        answer = {"health": "false" if reason else "true", "reason": reason}
        return Http1Response(503 if reason else 200, _JSON, json.dumps(answer, separators=(",", ":")).encode())

    async def _report(self, checks: dict[str, Check], request: Http1Request) -> Http1Response:
        query = parse_qs(request.query, keep_blank_values=True)
        excluded = set(query.get("exclude", []))
        lines, is_good = [], True
        for name, check in checks.items():
            failure = None if name in excluded else await check(self._node)
            if failure is None:
                lines.append(f"[+]{name} {'excluded: ok' if name in excluded else 'ok'}")
            else:
                is_good = False
                lines.append(f"[-]{name} failed: {failure}")
        if is_good and "verbose" not in query:
            return Http1Response(200, _PLAIN, b"ok\n")
        lines.append("ok" if is_good else "failed")
        return Http1Response(200 if is_good else 503, _PLAIN, "\n".join([*lines, ""]).encode())


class _HealthWatch:
    """One stream of Health.Watch."""

    def __init__(self, call: Call) -> None:
        self._call = call

    def on_message(self, message: bytes) -> None:
        request = decode(self._call, HealthCheckRequest, message)
        if request is not None:
            self._call.send(_SERVICE_UNKNOWN if request.service else _SERVING)

    def on_half_close(self) -> None:
        """The stream goes on: the client listens only."""

    def on_cancel(self) -> None:
        """Nothing is held for a stream."""
