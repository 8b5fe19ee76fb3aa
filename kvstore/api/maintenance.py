"""Maintenance: status, alarms, hashes, downgrades, moving the leader.  Snapshots: snapshot.py.

Defragment has nothing to do: pages that compaction frees are reused at once.
"""

from kvstore.api import errors
from kvstore.api.decoding import decode
from kvstore.api.node import CLUSTER_VERSION, SERVER_VERSION, Node
from kvstore.api.slices import Slices
from kvstore.member.ports import Failed, Result
from kvstore.mvcc import alarms, commands
from kvstore.mvcc.errors import Failure
from kvstore.pb.rpc_pb2 import (
    AlarmMember,
    AlarmRequest,
    AlarmResponse,
    AlarmType,
    DowngradeInfo,
    DowngradeRequest,
    DowngradeResponse,
    HashKVRequest,
    HashKVResponse,
    HashResponse,
    MoveLeaderRequest,
    StatusResponse,
)
from kvstore.rpc import Call, Streaming, Unary

__all__ = ["MaintenanceService"]

NEVER_COMPACTED = -1  # what etcd's HashKV answers then

class MaintenanceService:
    """The handlers of etcdserverpb.Maintenance."""

    def __init__(self, node: Node, slices: Slices) -> None:
        self._node = node
        self._slices = slices

    def routes(self) -> dict[str, Unary | Streaming]:
        """Return the handlers by path."""
        return {
            "/etcdserverpb.Maintenance/Alarm": Unary(self.alarm),
            "/etcdserverpb.Maintenance/Status": Unary(self.status),
            "/etcdserverpb.Maintenance/Defragment": Unary(self.defragment),
            "/etcdserverpb.Maintenance/Hash": Unary(self.hash),
            "/etcdserverpb.Maintenance/HashKV": Unary(self.hash_kv),
            "/etcdserverpb.Maintenance/Downgrade": Unary(self.downgrade),
            "/etcdserverpb.Maintenance/MoveLeader": Unary(self.move_leader),
        }

    def status(self, call: Call, message: bytes) -> None:
        """Answer Status, from this member alone."""
        node = self._node
        status, size, target = node.member.status(), node.state.size(), node.state.downgrade_target
        response = StatusResponse(
            version=SERVER_VERSION,
            dbSize=size.allocated,
            dbSizeInUse=size.used,
            dbSizeQuota=node.limits.quota_backend_bytes,
            leader=status.leader,
            raftIndex=status.commit_index,
            raftTerm=status.term,
            raftAppliedIndex=status.applied_index,
            errors=[*([] if status.leader else [errors.NO_LEADER.text]), *map(_in_go, node.state.listed_alarms())],
            isLearner=status.is_learner,
            storageVersion=CLUSTER_VERSION,
            downgradeInfo=DowngradeInfo(enabled=bool(target), targetVersion=target),
        )
        call.reply(node.header(node.state.revision) + response.SerializeToString())

    def alarm(self, call: Call, message: bytes) -> None:
        """Answer Alarm: list them, raise one, disarm one; on every member, through the log."""
        request = decode(call, AlarmRequest, message)
        if request is None or not self._node.admit(call):
            return
        if not _is_known(request):
            errors.refuse(call, errors.UNKNOWN_ALARM)
        elif request.action == AlarmRequest.GET:
            self._node.read(call, lambda: self._list_alarms(call, request.alarm))
        else:
            self._node.propose(call, commands.ALARM, alarms.encode_change(request, by_server=False))

    def _list_alarms(self, call: Call, alarm: int) -> None:
        state = self._node.state
        self._node.answer(
            call, state.revision, AlarmResponse(alarms=state.listed_alarms(alarm)).SerializeToString()
        )

    def defragment(self, call: Call, message: bytes) -> None:
        """Answer Defragment, without a header as etcd does: pages that compaction frees are reused, nothing stands still."""
        call.reply(b"")

    def hash(self, call: Call, message: bytes) -> None:
        """Answer Hash with the hash of everything."""
        self._answer_hash(call, 0, whole=True)

    def hash_kv(self, call: Call, message: bytes) -> None:
        """Answer HashKV."""
        request = decode(call, HashKVRequest, message)
        if request is not None and self._node.admit(call):
            self._node.read(call, lambda: self._answer_hash(call, request.revision, whole=False))

    def _answer_hash(self, call: Call, revision: int, *, whole: bool) -> None:
        state = self._node.state
        steps = state.hash_steps(revision, whole=whole)
        if isinstance(steps, Failure):
            errors.refuse(call, steps)
            return
        header, hashed = self._node.header(state.revision), revision or state.revision
        compacted = state.compacted or NEVER_COMPACTED

        def finish(found: int) -> None:
            if whole:
                call.reply(header + HashResponse(hash=found).SerializeToString())
            else:
                response = HashKVResponse(hash=found, compact_revision=compacted, hash_revision=hashed)
                call.reply(header + response.SerializeToString())

        call.on_cancel(self._slices.run(steps, finish))

    def downgrade(self, call: Call, message: bytes) -> None:
        """Answer Downgrade. What is on the disk does not depend on the version: the target is noted, nothing else."""
        request = decode(call, DowngradeRequest, message)
        if request is None or not self._node.admit(call):
            return
        if request.action == DowngradeRequest.VALIDATE:
            self._node.read(call, lambda: self._validate(call, request))
        else:
            self._node.propose(call, commands.DOWNGRADE, message)

    def _validate(self, call: Call, request: DowngradeRequest) -> None:
        state = self._node.state
        body = DowngradeResponse(version=CLUSTER_VERSION).SerializeToString()
        self._node.answer(call, state.revision, body, state.check_downgrade(request))

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


def _is_known(request: AlarmRequest) -> bool:
    """Whether the request asks for something that there is. A real etcd ends at an unknown action, all members of it."""
    return request.action in AlarmRequest.AlarmAction.values() and request.alarm in AlarmType.values()


def _in_go(member: AlarmMember) -> str:
    """Return an alarm as Go prints the message, which is what Status shows."""
    member_id = f"memberID:{member.memberID} " if member.memberID else ""
    return f"{member_id}alarm:{AlarmType.Name(member.alarm)} "
