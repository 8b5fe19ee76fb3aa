"""The quota: NOSPACE is raised through the log when this member's store outgrows it, and disarmed when there is room again.

etcd waits for an operator to disarm it. Here the member that raised the alarm takes it back once the pages in use are well
below the quota (after a compaction, or deletes), so that a cluster recovers by itself. The leader takes back that of a
member that is gone: nobody else would. One raised by hand stays.
"""

from collections.abc import Callable

from kvstore.api.node import Node
from kvstore.member.ports import Result
from kvstore.mvcc import alarms, commands
from kvstore.pb.rpc_pb2 import NOSPACE, AlarmRequest

__all__ = ["SpaceWatch"]

CHECK_SECONDS = 0.5
DISARM_SHARE = 0.9  # of the quota: below it the alarm is taken back


class SpaceWatch:
    """`later(seconds, function)` is the loop's call_later."""

    def __init__(self, node: Node, later: Callable[[float, Callable[[], None]], object]) -> None:
        self._node = node
        self._later = later
        self._is_busy = False
        self._is_stopped = False
        node.on_no_space = self.raise_alarm
        later(CHECK_SECONDS, self._tick)

    def stop(self) -> None:
        """Raise and disarm nothing from now on."""
        self._is_stopped = True

    def _tick(self) -> None:
        if not self._is_stopped:
            self._later(CHECK_SECONDS, self._tick)
            self.check()

    def check(self) -> None:
        """Raise the alarm when it is due, take it back when its reason is gone."""
        name = (self._node.member.member_id, NOSPACE)
        if not self._node.has_space():
            self.raise_alarm()
        elif self._node.state.alarms.get(name, False) and self._node.has_space(share=DISARM_SHARE):
            self._propose(AlarmRequest.DEACTIVATE)
        elif self._node.member.is_leader and self._node.state.alarms:
            self._take_back_for_the_gone()

    def _take_back_for_the_gone(self) -> None:
        members = {info.member_id for info in self._node.member.status().members}
        for (member_id, kind), is_by_server in sorted(self._node.state.alarms.items()):
            if kind == NOSPACE and is_by_server and member_id not in members:
                self._propose(AlarmRequest.DEACTIVATE, member_id)

    def raise_alarm(self) -> None:
        """Tell the cluster that this member has no room, if it has not been told."""
        if (self._node.member.member_id, NOSPACE) not in self._node.state.alarms:
            self._propose(AlarmRequest.ACTIVATE)

    def _propose(self, action: AlarmRequest.AlarmAction, member_id: int = 0) -> None:
        """`member_id` 0: this one."""
        if self._is_busy or self._is_stopped or not self._node.member.leader:
            return
        self._is_busy = True
        request = AlarmRequest(action=action, memberID=member_id or self._node.member.member_id, alarm=NOSPACE)
        self._node.member.propose(commands.ALARM + alarms.encode_change(request, by_server=True), self._done)

    def _done(self, result: Result) -> None:
        self._is_busy = False
