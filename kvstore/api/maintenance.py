"""Maintenance: status, alarms, hashes, moving the leader.

Defragment has nothing to do: pages that compaction frees are reused at once. Snapshots: snapshot.py.
Downgrade answers Unimplemented.
"""

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import CLUSTER_VERSION, SERVER_VERSION, Node
from kvstore.member.ports import Failed, Result
from kvstore.mvcc.errors import Failure
from kvstore.pb.rpc_pb2 import (
    AlarmRequest,
    DowngradeInfo,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MoveLeaderRequest,
    StatusResponse,
)
from kvstore.rpc import Call, Code, Streaming, Unary

__all__ = ["MaintenanceService"]

_NO_RAISING = Failure(Code.UNIMPLEMENTED, "raising an alarm by hand is not implemented")


class MaintenanceService:
    """The handlers of etcdserverpb.Maintenance."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {
            "/etcdserverpb.Maintenance/Alarm": Unary(self.alarm),
            "/etcdserverpb.Maintenance/Status": Unary(self.status),
            "/etcdserverpb.Maintenance/Defragment": Unary(self.defragment),
            "/etcdserverpb.Maintenance/Hash": Unary(self.hash),
            "/etcdserverpb.Maintenance/HashKV": Unary(self.hash_kv),
            "/etcdserverpb.Maintenance/MoveLeader": Unary(self.move_leader),
        }

    def status(self, call: Call, message: bytes) -> None:
        """Answer Status, from this member alone."""
        node = self._node
        status, size = node.member.status(), node.state.size()
        response = StatusResponse(
            version=SERVER_VERSION,
            dbSize=size.allocated,
            dbSizeInUse=size.used,
            dbSizeQuota=node.limits.quota_backend_bytes,
            leader=status.leader,
            raftIndex=status.commit_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            errors=[] if status.leader else [errors.NO_LEADER.text],
            isLearner=status.is_learner,
            storageVersion=CLUSTER_VERSION,
            downgradeInfo=DowngradeInfo(),
        )
        call.reply(node.header(node.state.revision) + response.SerializeToString())

    def alarm(self, call: Call, message: bytes) -> None:
        """Answer Alarm: none is ever raised yet, so there is none to list or to disarm."""
        request = decode(call, AlarmRequest, message)
        if request is None or not self._node.admit(call):
            return
        if request.action == AlarmRequest.ACTIVATE:
            errors.refuse(call, _NO_RAISING)
        else:
            call.reply(self._node.header(self._node.state.revision))

    def defragment(self, call: Call, message: bytes) -> None:
        """Answer Defragment, without a header as etcd does."""
        call.reply(b"")

    def hash(self, call: Call, message: bytes) -> None:
        """Answer Hash with the hash of all keys."""
        self._answer_hash(call, 0, whole=True)

    def hash_kv(self, call: Call, message: bytes) -> None:
        """Answer HashKV."""
        request = decode(call, HashKVRequest, message)
        if request is not None and self._node.admit(call):
            self._node.read(call, lambda: self._answer_hash(call, request.revision, whole=False))

    def _answer_hash(self, call: Call, revision: int, *, whole: bool) -> None:
        state = self._node.state
        found = state.hash_key_values(revision)
        if isinstance(found, Failure):
            errors.refuse(call, found)
            return
        header = self._node.header(state.revision)
        if whole:
            call.reply(header + HashResponse(hash=found).SerializeToString())
        else:
            response = HashKVResponse(
                hash=found, compact_revision=state.compacted, hash_revision=revision or state.revision
            )
            call.reply(header + response.SerializeToString())

    def move_leader(self, call: Call, message: bytes) -> None:
        """Answer MoveLeader, which only the leader takes; the answer has no header, as etcd's."""
        request = decode(call, MoveLeaderRequest, message)
        if request is None or not self._node.admit(call):
            return
        member = self._node.member
        if not member.is_leader:
            errors.refuse(call, errors.NOT_LEADER)
        elif request.targetID not in {one.member_id for one in member.status().members if not one.is_learner}:
            errors.refuse(call, errors.BAD_TRANSFEREE)
        elif request.targetID == member.member_id:
            call.reply(b"")
        else:
            member.transfer_leadership(request.targetID, lambda result: self._moved(call, result))

    @staticmethod
    def _moved(call: Call, result: Result) -> None:
        if isinstance(result, Failed):
            call.fail(result.code, result.text)
        else:
            call.reply(b"")
