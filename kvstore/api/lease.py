"""Lease: grant, revoke, keep alive, time to live, list."""

from collections import deque
from collections.abc import Callable, Generator
from functools import partial
from random import Random

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.leader_guard import LeaderGuard
from kvstore.api.lessor import Lessor
from kvstore.api.node import Node
from kvstore.api.slices import Slices, Steps
from kvstore.mvcc import commands, wire
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.permissions import Identity
from kvstore.pb.rpc_pb2 import (
    LeaseGrantRequest,
    LeaseKeepAliveRequest,
    LeaseRevokeRequest,
    LeaseTimeToLiveRequest,
)
from kvstore.rpc import Call, Receiver, Streaming, Unary

__all__ = ["LeaseService"]

RETRY_SECONDS = 0.1  # between questions to a leader that does not answer
MAX_ATTEMPTS = 50
BATCH_LEASES = 500  # listed at once
MAX_WAITING_RENEWALS = 1000  # of one stream


class LeaseService:
    """The handlers of etcdserverpb.Lease. `later(seconds, function)` is the loop's call_later."""

    def __init__(
        self,
        node: Node,
        lessor: Lessor,
        guard: LeaderGuard,
        random: Random,
        later: Callable[[float, Callable[[], None]], object],
        slices: Slices,
    ) -> None:
        self._node = node
        self._slices = slices
        self._lessor = lessor
        self._guard = guard
        self._random = random
        self._later = later
        # etcd's least TTL: one and a half election time-outs, in whole seconds upwards
        self._min_ttl_seconds = -int(-1.5 * node.limits.election_timeout_seconds // 1)

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {
            "/etcdserverpb.Lease/LeaseGrant": Unary(self.grant),
            "/etcdserverpb.Lease/LeaseRevoke": Unary(self.revoke),
            "/etcdserverpb.Lease/LeaseKeepAlive": Streaming(self.keep_alive),
            "/etcdserverpb.Lease/LeaseTimeToLive": Unary(self.time_to_live),
            "/etcdserverpb.Lease/LeaseLeases": Unary(self.leases),
        }

    def grant(self, call: Call, message: bytes) -> None:
        """Answer LeaseGrant: the id is chosen and the TTL clamped before the entry is proposed."""
        request = decode(call, LeaseGrantRequest, message)
        if request is None or not self._node.admit(call):
            return
        if not self._node.has_space():
            self._node.refuse_for_space(call)
        else:
            request.TTL = max(request.TTL, self._min_ttl_seconds)
            if not request.ID:
                request.ID = self._random.randrange(1, 1 << 63)
            self._node.propose(call, commands.LEASE_GRANT, request.SerializeToString())

    def revoke(self, call: Call, message: bytes) -> None:
        """Answer LeaseRevoke."""
        if decode(call, LeaseRevokeRequest, message) is not None and self._node.admit(call):
            self._node.propose(call, commands.LEASE_REVOKE, message)

    def keep_alive(self, call: Call) -> Receiver:
        """Begin a stream of renewals."""
        if self._node.admit(call):
            call.send_head()
            self._guard.add(call)
        return _KeepAlive(self, call)

    def renew(self, call: Call, lease: int, header: bytes, done: Callable[[], None], attempts: int = 1) -> None:
        """Renew `lease` and send the answer on `call`; a leader that does not answer is asked again."""

        def finish(seconds: int | None) -> None:
            if seconds is not None:
                call.send(header + wire.number_field(b"\x10", lease) + wire.number_field(b"\x18", seconds))
                done()
            elif attempts >= MAX_ATTEMPTS or not call.is_open:
                errors.refuse(call, errors.TIMED_OUT if self._node.member.leader else errors.NO_LEADER)
            else:
                self._later(RETRY_SECONDS, lambda: self.renew(call, lease, header, done, attempts + 1))

        self._lessor.renew(lease, finish)

    def closed(self, call: Call) -> None:
        """Forget a stream of renewals."""
        self._guard.remove(call)

    def time_to_live(self, call: Call, message: bytes) -> None:
        """Answer LeaseTimeToLive."""
        request = decode(call, LeaseTimeToLiveRequest, message)
        if request is not None and self._node.admit(call):
            self._node.read(call, lambda: self._time_to_live(call, request, 1))

    def _time_to_live(self, call: Call, request: LeaseTimeToLiveRequest, attempts: int) -> None:
        def finish(seconds: int | None) -> None:
            if seconds is not None:
                self._answer_time_to_live(call, request, seconds)
            elif attempts >= MAX_ATTEMPTS or not call.is_open:
                errors.refuse(call, errors.TIMED_OUT if self._node.member.leader else errors.NO_LEADER)
            else:
                self._later(RETRY_SECONDS, lambda: self._time_to_live(call, request, attempts + 1))

        self._lessor.time_to_live(request.ID, finish)

    def _answer_time_to_live(self, call: Call, request: LeaseTimeToLiveRequest, seconds: int) -> None:
        state = self._node.state
        record = state.lease(request.ID)
        body = wire.number_field(b"\x10", request.ID)
        if record is None or seconds < 0:
            body += wire.number_field(b"\x18", -1)
        else:
            body += wire.number_field(b"\x18", seconds) + wire.number_field(b"\x20", record.ttl_seconds)
        header = self._node.header(state.revision)
        if request.keys:
            steps = self._with_keys(call, [header, body], state.lease_key_batches(request.ID))
            call.on_cancel(self._slices.run(steps, call.reply))
        else:
            call.reply(header + body)

    def _with_keys(self, call: Call, parts: list[bytes], batches: Generator[list[bytes], None, None]) -> Steps[bytes]:
        """Yield the answer, when all keys have been added to it, or the call was refused because of one of them."""
        try:
            for batch in batches:
                if not self._node.access.allows(call, partial(self._refuse_keys, batch)):
                    break
                parts.append(b"".join(wire.message_field(b"\x2a", key) for key in batch))
                yield None
            yield b"".join(parts)
        finally:
            batches.close()

    def _refuse_keys(self, keys: list[bytes], identity: Identity | None) -> Failure | None:
        return self._node.state.guard.refuse_keys(identity, [(key, b"") for key in keys])

    def leases(self, call: Call, message: bytes) -> None:
        """Answer LeaseLeases."""
        if self._node.admit(call):
            self._node.read(call, lambda: self._answer_leases(call))

    def _answer_leases(self, call: Call) -> None:
        header = self._node.header(self._node.state.revision)
        call.on_cancel(self._slices.run(_list(header, self._lessor.leases()), call.reply))


def _list(header: bytes, leases: list[int]) -> Steps[bytes]:
    parts = [header]
    for begin in range(0, len(leases), BATCH_LEASES):
        batch = leases[begin : begin + BATCH_LEASES]
        parts.append(b"".join(wire.message_field(b"\x12", wire.number_field(b"\x08", lease)) for lease in batch))
        yield None
    yield b"".join(parts)


class _KeepAlive:
    """One stream of renewals. They are answered in the order of the requests: one is under way at a time."""

    def __init__(self, service: LeaseService, call: Call) -> None:
        self._service = service
        self._call = call
        self._waiting: deque[int] = deque()
        self._is_busy = False
        self._is_half_closed = False

    def on_message(self, message: bytes) -> None:
        request = decode(self._call, LeaseKeepAliveRequest, message)
        if request is None:
            return
        if len(self._waiting) >= MAX_WAITING_RENEWALS:
            errors.refuse(self._call, errors.TOO_MANY_REQUESTS)
            return
        self._waiting.append(request.ID)
        self._next()

    def _next(self) -> None:
        if self._is_busy:
            return
        if self._waiting:
            self._is_busy = True
            node = self._service._node
            header = node.header(node.state.revision)
            self._service.renew(self._call, self._waiting.popleft(), header, self._done)
        elif self._is_half_closed:
            self._service.closed(self._call)
            self._call.finish()

    def _done(self) -> None:
        self._is_busy = False
        self._next()

    def on_half_close(self) -> None:
        self._is_half_closed = True
        self._next()

    def on_cancel(self) -> None:
        self._waiting.clear()
        self._service.closed(self._call)
