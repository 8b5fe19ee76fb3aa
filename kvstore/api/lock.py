"""v3lock.Lock: Lock waits for the lock and answers with the key that stands for holding it; Unlock deletes that key.

The lock is held as long as the key is there, which may end with its lease at any time. What the lock protects should
compare the key's create revision in its own transactions.
"""

from kvstore.api.decoding import decode
from kvstore.api.local_call import Routes, ask
from kvstore.api.turns import Contender, Deletions
from kvstore.mvcc import wire
from kvstore.pb.lock_pb2 import LockRequest, LockResponse, UnlockRequest
from kvstore.pb.rpc_pb2 import DeleteRangeRequest, DeleteRangeResponse, ResponseHeader
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["LockService"]

_LOST = "mutex: session is expired"
_DELETE = "/etcdserverpb.KV/DeleteRange"


class LockService:
    """The handlers of v3lockpb.Lock. `routes` are the member's own, asked in the client's name."""

    def __init__(self, routes: Routes, deletions: Deletions) -> None:
        self._routes = routes
        self._deletions = deletions

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {"/v3lockpb.Lock/Lock": Unary(self.lock), "/v3lockpb.Lock/Unlock": Unary(self.unlock)}

    def lock(self, call: Call, message: bytes) -> None:
        """Answer Lock when it is the caller's turn."""
        request = decode(call, LockRequest, message)
        if request is not None:
            contender = Contender(
                self._routes,
                self._deletions,
                call,
                request.name,
                lambda won, header: call.reply(LockResponse(header=header, key=won.key).SerializeToString()),
                _LOST,
            )
            contender.start(request.lease)

    def unlock(self, call: Call, message: bytes) -> None:
        """Answer Unlock; a key that is gone is no error."""
        request = decode(call, UnlockRequest, message)
        if request is not None:
            delete = DeleteRangeRequest(key=request.key)
            ask(self._routes, call, _DELETE, delete, DeleteRangeResponse, lambda answer: _reply(call, answer.header))


def _reply(call: Call, header: ResponseHeader) -> None:
    call.reply(wire.message_field(b"\x0a", header.SerializeToString()))
