"""What a learner serves: its status, serializable ranges and snapshots; everything else is refused, as by etcd.

A voter never becomes a learner, so a member that votes when it starts has no gate at all.
"""

from kvstore.api import errors
from kvstore.api.node import MemberPort
from kvstore.pb.rpc_pb2 import RangeRequest
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["gated"]

_ALLOWED = frozenset(("/etcdserverpb.Maintenance/Status", "/etcdserverpb.Maintenance/Snapshot"))
_RANGE = "/etcdserverpb.KV/Range"
_ALWAYS = "/grpc."


def gated(member: MemberPort, path: str, route: Unary | Streaming) -> Unary | Streaming:
    """The route behind the gate, or the route itself where there is nothing to refuse."""
    if path in _ALLOWED or path.startswith(_ALWAYS) or not member.status().is_learner:
        return route
    handler = route.handler
    if isinstance(route, Streaming):
        return Streaming(lambda call: _Refused() if _is_refused(member, call) else route.handler(call))

    def unary(call: Call, message: bytes) -> None:
        if (path == _RANGE and _is_serializable(message)) or not _is_refused(member, call):
            handler(call, message)  # type: ignore[call-arg]

    return Unary(unary)


def _is_refused(member: MemberPort, call: Call) -> bool:
    if not member.status().is_learner:
        return False
    errors.refuse(call, errors.NOT_FOR_LEARNER)
    return True


def _is_serializable(message: bytes) -> bool:
    try:
        return RangeRequest.FromString(message).serializable
    except ValueError:  # protobuf's DecodeError is one; the service itself says what is wrong
        return True


class _Refused:
    """The call has failed already."""

    def on_message(self, message: bytes) -> None:
        pass

    def on_half_close(self) -> None:
        pass

    def on_cancel(self) -> None:
        pass
