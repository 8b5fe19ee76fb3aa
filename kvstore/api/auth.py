"""Auth: whether it is on.  It is not, until a later issue; the other RPCs answer Unimplemented."""

from kvstore.api.node import Node
from kvstore.pb.rpc_pb2 import AuthStatusResponse
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["AuthService"]

_FIRST_REVISION = 1  # of the users and roles; nothing has changed them


class AuthService:
    """The handlers of etcdserverpb.Auth."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {"/etcdserverpb.Auth/AuthStatus": Unary(self.status)}

    def status(self, call: Call, message: bytes) -> None:
        """Answer AuthStatus."""
        response = AuthStatusResponse(enabled=False, authRevision=_FIRST_REVISION)
        call.reply(self._node.header(self._node.state.revision) + response.SerializeToString())
