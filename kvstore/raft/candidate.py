"""What a candidate does: ask (first without changing anything: PreVote, dissertation 9.6), count, win or give up."""

from typing import TYPE_CHECKING

from kvstore.raft import follower, leader
from kvstore.raft.quorum import has_quorum, is_lost
from kvstore.raft.types import (
    Append,
    Campaign,
    CommitNotice,
    Heartbeat,
    InstallSnapshot,
    Propose,
    ProposeConfiguration,
    Read,
    Role,
    Tick,
    TimeoutNow,
    VoteReply,
    VoteRequest,
)

if TYPE_CHECKING:
    from kvstore.raft.core import Raft
    from kvstore.raft.follower import Handlers

FromLeader = Append | Heartbeat | CommitNotice | InstallSnapshot


def campaign(raft: "Raft", *, pre: bool, forced: bool = False) -> None:
    """Ask all voters. A pre-vote changes nothing but my role; a real one makes a new term and needs the disk first."""
    configuration = raft.log.configuration
    if not configuration.is_voter(raft.member_id) and not _is_leaving(raft):
        raft.become_follower(raft.term, 0)  # no lease for a leader that is not heard, or my vote would be withheld
        return
    raft.change_role(Role.PRE_CANDIDATE if pre else Role.CANDIDATE)
    term = raft.term + 1
    if pre:
        raft.votes[raft.member_id] = True
    else:
        raft.widen_boot_spread()
        raft.term, raft.vote = term, raft.member_id
        raft.own_vote_number = raft.persist_number + 1
    last_index, last_term = raft.log.last_index, raft.log.last_term
    queue = raft.outgoing if pre else raft.promises
    for voter in configuration.electorate():
        if voter != raft.member_id:
            queue.append(VoteRequest(raft.member_id, voter, term, last_index, last_term, pre, forced))
    _count(raft)


def _is_leaving(raft: "Raft") -> bool:
    """The configuration without me is not committed: the others may need my log to commit it (dissertation, 4.2.2)."""
    log = raft.log
    return log.configuration_index > log.committed and log.configuration_at(log.committed).is_voter(raft.member_id)


def on_own_vote_persisted(raft: "Raft", number: int) -> None:
    """My vote for myself counts once it cannot be forgotten."""
    if number >= raft.own_vote_number:
        raft.votes[raft.member_id] = True
        _count(raft)


def on_vote_reply(raft: "Raft", reply: VoteReply) -> None:
    is_pre = raft.role is Role.PRE_CANDIDATE
    if reply.pre != is_pre or (reply.granted and reply.term != raft.term + is_pre):
        return
    raft.votes.setdefault(reply.source, reply.granted)
    _count(raft)


def _count(raft: "Raft") -> None:
    configuration, votes = raft.log.configuration, raft.votes
    if has_quorum(configuration, lambda voter: votes.get(voter, False)):
        if raft.role is Role.PRE_CANDIDATE:
            campaign(raft, pre=False)
        else:
            leader.become_leader(raft)
    elif is_lost(configuration, votes):
        raft.become_follower(raft.term, 0)


def on_leader_message(raft: "Raft", message: FromLeader) -> None:
    """Someone leads my term already."""
    raft.become_follower(raft.term, message.source)
    follower.HANDLERS[type(message)](raft, message)


def on_propose(raft: "Raft", propose: Propose | ProposeConfiguration) -> None:
    raft.dropped.append(propose.number)


def on_read(raft: "Raft", read: Read) -> None:
    raft.dropped_reads.append(read.context)


def on_tick(raft: "Raft", tick: Tick) -> None:
    raft.elapsed += 1
    if raft.elapsed >= raft.timeout:
        campaign(raft, pre=True)


def on_campaign(raft: "Raft", order: Campaign) -> None:
    campaign(raft, pre=True)


def on_timeout_now(raft: "Raft", message: TimeoutNow) -> None:
    campaign(raft, pre=False, forced=True)


HANDLERS: "Handlers" = {
    VoteReply: on_vote_reply,
    Append: on_leader_message,
    Heartbeat: on_leader_message,
    CommitNotice: on_leader_message,
    InstallSnapshot: on_leader_message,
    Propose: on_propose,
    ProposeConfiguration: on_propose,
    Read: on_read,
    Tick: on_tick,
    Campaign: on_campaign,
    TimeoutNow: on_timeout_now,
}
