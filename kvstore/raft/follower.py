"""What a follower does: believe its leader, pass requests on to it, and campaign when it falls silent."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from kvstore.raft import candidate
from kvstore.raft.types import (
    Append,
    AppendReply,
    Campaign,
    CommitNotice,
    Forward,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PeerDown,
    Propose,
    ProposeConfiguration,
    Read,
    ReadReady,
    ReadReply,
    ReadRequest,
    SnapshotSent,
    Tick,
    TimeoutNow,
    Transfer,
    Unreachable,
)

if TYPE_CHECKING:
    from kvstore.raft.core import Raft

Handlers = dict[type[object], Callable[["Raft", Any], None]]
LOCAL_INPUTS = (Tick, Campaign, Propose, ProposeConfiguration, Read, SnapshotSent, Unreachable, PeerDown, Transfer)


def on_append(raft: "Raft", append: Append) -> None:
    _hear(raft, append.source)
    log = raft.log
    previous, entries = append.previous_index, append.entries
    if previous < log.committed:  # what is committed agrees with every later leader
        entries = tuple(entry for entry in entries if entry.index > log.committed)
        previous = max(log.committed, previous)
    elif log.term(previous) != append.previous_term:
        hint_index, hint_term = log.newest_possible_match(previous, append.previous_term)
        reply = AppendReply(raft.member_id, append.source, raft.term, previous, True, hint_index, hint_term)
        raft.outgoing.append(reply)
        return
    log.merge(entries)
    last = previous + len(entries)
    log.commit_to(min(append.commit, last))
    raft.promises.append(AppendReply(raft.member_id, append.source, raft.term, last))


def on_heartbeat(raft: "Raft", heartbeat: Heartbeat) -> None:
    _hear(raft, heartbeat.source)
    raft.log.commit_to(heartbeat.commit)
    raft.outgoing.append(HeartbeatReply(raft.member_id, heartbeat.source, raft.term, heartbeat.round))


def on_commit_notice(raft: "Raft", notice: CommitNotice) -> None:
    _hear(raft, notice.source)
    raft.log.commit_to(notice.commit)


def on_install_snapshot(raft: "Raft", install: InstallSnapshot) -> None:
    _hear(raft, install.source)
    log, mark = raft.log, install.mark
    if mark.index > log.committed:
        if log.term(mark.index) == mark.term:  # all of it is in the log already
            log.commit_to(mark.index)
        else:
            log.restore(mark)
            raft.install = mark
    raft.promises.append(AppendReply(raft.member_id, install.source, raft.term, log.committed))


def on_propose(raft: "Raft", propose: Propose) -> None:
    if raft.leader:
        raft.outgoing.append(Forward(raft.member_id, raft.leader, raft.term, propose.number, propose.batch))
        raft.accepted.append(propose.number)
    else:
        raft.dropped.append(propose.number)


def on_propose_configuration(raft: "Raft", propose: ProposeConfiguration) -> None:
    raft.dropped.append(propose.number)


def on_read(raft: "Raft", read: Read) -> None:
    if raft.leader:
        raft.outgoing.append(ReadRequest(raft.member_id, raft.leader, raft.term, read.context))
    else:
        raft.dropped_reads.append(read.context)


def on_read_reply(raft: "Raft", reply: ReadReply) -> None:
    _hear(raft, reply.source)
    raft.ready_reads.append(ReadReady(reply.context, reply.index))


def on_timeout_now(raft: "Raft", message: TimeoutNow) -> None:
    candidate.campaign(raft, pre=False, forced=True)


def on_peer_down(raft: "Raft", down: PeerDown) -> None:
    if down.member == raft.leader:
        raft.lose_leader()


def on_tick(raft: "Raft", tick: Tick) -> None:
    raft.elapsed += 1
    if raft.elapsed >= raft.timeout:
        candidate.campaign(raft, pre=True)


def on_campaign(raft: "Raft", order: Campaign) -> None:
    candidate.campaign(raft, pre=True)


def _hear(raft: "Raft", leader_id: int) -> None:
    raft.elapsed = 0
    if raft.leader != leader_id:
        assert raft.leader == 0, f"{leader_id} and {raft.leader} both lead term {raft.term}"
        raft.follow(leader_id)


HANDLERS: Handlers = {
    Append: on_append,
    Heartbeat: on_heartbeat,
    CommitNotice: on_commit_notice,
    InstallSnapshot: on_install_snapshot,
    Propose: on_propose,
    ProposeConfiguration: on_propose_configuration,
    Read: on_read,
    ReadReply: on_read_reply,
    TimeoutNow: on_timeout_now,
    PeerDown: on_peer_down,
    Tick: on_tick,
    Campaign: on_campaign,
}
