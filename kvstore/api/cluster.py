"""Cluster: the list of members.  Changes of membership are a later issue; their RPCs answer Unimplemented."""

from kvstore.api.decoding import decode
from kvstore.api.node import Node
from kvstore.pb.rpc_pb2 import Member, MemberListRequest, MemberListResponse
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["ClusterService"]


class ClusterService:
    """The handlers of etcdserverpb.Cluster."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {"/etcdserverpb.Cluster/MemberList": Unary(self.member_list)}

    def member_list(self, call: Call, message: bytes) -> None:
        """Answer MemberList. Its header carries no revision, as etcd's does not."""
        request = decode(call, MemberListRequest, message)
        if request is None or not self._node.admit(call):
            return
        if request.linearizable:
            self._node.read(call, lambda: self._answer(call))
        else:
            self._answer(call)

    def _answer(self, call: Call) -> None:
        members = [
            Member(
                ID=member.member_id,
                name=member.name,
                peerURLs=member.peer_urls,
                clientURLs=member.client_urls,
                isLearner=member.is_learner,
            )
            for member in self._node.member.status().members
        ]
        call.reply(self._node.header(0) + MemberListResponse(members=members).SerializeToString())
