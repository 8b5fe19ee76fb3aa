"""What a leader does: append, replicate, commit by counting copies of its own term (paper, 5.4.2), confirm reads.

Handlers only note what is to be done; `flush`, at the end of each step, sends it: one round of heartbeats for all reads
that came in, one Append to each follower for all proposals that came in.
"""

from typing import TYPE_CHECKING

from kvstore.raft.configuration import leave_joint, next_step
from kvstore.raft.progress import Progress, ProgressState
from kvstore.raft.quorum import committed_index, has_quorum
from kvstore.raft.reads import Waiting
from kvstore.raft.types import (
    Append,
    AppendReply,
    CommitNotice,
    Entry,
    EntryKind,
    Forward,
    Heartbeat,
    HeartbeatReply,
    Propose,
    ProposeConfiguration,
    Read,
    ReadReady,
    ReadReply,
    ReadRequest,
    Role,
    SnapshotSent,
    Tick,
    TimeoutNow,
    Transfer,
    Unreachable,
)

if TYPE_CHECKING:
    from kvstore.raft.core import Raft
    from kvstore.raft.follower import Handlers

INCARNATION_SHIFT = 32  # a Forward's number: the sender's life above, a counter below


def become_leader(raft: "Raft") -> None:
    """Won: nothing is known of the followers, and an empty entry of this term is needed to commit what is older."""
    raft.change_role(Role.LEADER)
    raft.follow(raft.member_id)
    raft.uncommitted_bytes = 0
    _know_members(raft)
    _append(raft, EntryKind.EMPTY, b"")


def _know_members(raft: "Raft") -> None:
    """Keep one Progress for each other member of the newest configuration."""
    members = raft.log.configuration.members()
    for member in members:
        if member != raft.member_id and member not in raft.progress:
            raft.progress[member] = Progress(raft.log.last_index + 1)
    for member in sorted(raft.progress.keys() - set(members)):
        del raft.progress[member]


def _append(raft: "Raft", kind: EntryKind, data: bytes) -> None:
    raft.log.append((Entry(raft.log.last_index + 1, raft.term, kind, data),))


# Requests ------------------------------------------------------------------------------------------------------------


def on_propose(raft: "Raft", propose: Propose) -> None:
    accepted = _take_batch(raft, propose.batch)
    (raft.accepted if accepted else raft.dropped).append(propose.number)


def on_forward(raft: "Raft", forward: Forward) -> None:
    """A follower's commands, for this term only: what a network repeats must not be appended twice."""
    sender = (forward.source, forward.number >> INCARNATION_SHIFT)
    if forward.number > raft.forwarded.get(sender, -1):
        raft.forwarded[sender] = forward.number
        _take_batch(raft, forward.batch)


def _take_batch(raft: "Raft", batch: tuple[bytes, ...]) -> bool:
    size = sum(map(len, batch))
    too_much = raft.uncommitted_bytes > 0 and raft.uncommitted_bytes + size > raft.config.max_uncommitted_bytes
    if too_much or raft.transferee:
        return False
    raft.uncommitted_bytes += size
    term, command, first = raft.term, EntryKind.COMMAND, raft.log.last_index + 1
    raft.log.append([Entry(index, term, command, data) for index, data in enumerate(batch, first)])
    return True


def on_propose_configuration(raft: "Raft", propose: ProposeConfiguration) -> None:
    """One change at a time, and none before an entry of this term is committed (Ongaro's correction of 2015)."""
    log = raft.log
    is_changing = log.configuration_index > log.committed or log.configuration.is_joint
    if is_changing or raft.transferee or not _has_committed_in_term(raft):
        raft.dropped.append(propose.number)
        return
    _append(raft, EntryKind.CONFIGURATION, next_step(log.configuration, propose.target).encode())
    _know_members(raft)
    raft.accepted.append(propose.number)


def on_read(raft: "Raft", read: Read) -> None:
    raft.reads.add(Waiting(raft.member_id, read.context))


def on_read_request(raft: "Raft", request: ReadRequest) -> None:
    raft.reads.add(Waiting(request.source, request.context))


def on_transfer(raft: "Raft", transfer: Transfer) -> None:
    target = raft.progress.get(transfer.to)
    if target is None or not raft.log.configuration.is_voter(transfer.to) or raft.transferee == transfer.to:
        return
    raft.transferee = transfer.to
    raft.elapsed = 0  # the transfer has one election time-out
    _hand_over_if_ready(raft, transfer.to, target)


def _hand_over_if_ready(raft: "Raft", member: int, progress: Progress) -> None:
    if raft.transferee == member and progress.match == raft.log.last_index:
        raft.outgoing.append(TimeoutNow(raft.member_id, member, raft.term))


# Answers -------------------------------------------------------------------------------------------------------------


def on_append_reply(raft: "Raft", reply: AppendReply) -> None:
    progress = raft.progress.get(reply.source)
    if progress is None:
        return
    progress.is_active = True
    if reply.rejected:
        candidate = reply.hint_index
        if reply.hint_term:
            candidate = raft.log.newest_possible_match(reply.hint_index, reply.hint_term)[0]
        progress.on_rejected(reply.index, candidate)
        return
    is_news = progress.on_accepted(reply.index)
    if progress.state is ProgressState.PROBE or (
        progress.state is ProgressState.SNAPSHOT and reply.index >= raft.log.snapshot.index
    ):
        progress.become_replicate()
    if is_news:
        maybe_commit(raft)
        if raft.role is Role.LEADER:
            _hand_over_if_ready(raft, reply.source, progress)


def on_heartbeat_reply(raft: "Raft", reply: HeartbeatReply) -> None:
    progress = raft.progress.get(reply.source)
    if progress is None:
        return
    progress.is_active = True
    if reply.round:
        raft.reads.acknowledge(reply.source, reply.round)
    else:
        progress.relax()
        if progress.match < raft.log.last_index:
            _send_append(raft, reply.source, progress, may_be_empty=True)


def on_snapshot_sent(raft: "Raft", sent: SnapshotSent) -> None:
    progress = raft.progress.get(sent.to)
    if progress is None or progress.state is not ProgressState.SNAPSHOT:
        return
    progress.snapshot_index = sent.index if sent.complete else 0
    progress.become_probe()
    progress.probe_sent = True  # until it answers, or the next heartbeat


def on_unreachable(raft: "Raft", unreachable: Unreachable) -> None:
    progress = raft.progress.get(unreachable.to)
    if progress is not None and progress.state is ProgressState.REPLICATE:
        progress.become_probe()


def on_tick(raft: "Raft", tick: Tick) -> None:
    raft.elapsed += 1
    raft.heartbeat_elapsed += 1
    if raft.elapsed >= raft.config.election_ticks:
        raft.elapsed = 0
        raft.transferee = 0
        if not _quorum_is_active(raft):
            raft.become_follower(raft.term, 0)
            return
    if raft.heartbeat_elapsed >= raft.config.heartbeat_ticks:
        raft.heartbeat_elapsed = 0
        _send_heartbeats(raft, 0)
        if raft.reads.has_open:  # the round's own heartbeats may have been lost
            _send_heartbeats(raft, raft.reads.round)


def _quorum_is_active(raft: "Raft") -> bool:
    """CheckQuorum: has a majority been heard since the last look?"""
    active = {member for member, progress in raft.progress.items() if progress.is_active}
    active.add(raft.member_id)
    for progress in raft.progress.values():
        progress.is_active = False
    return has_quorum(raft.log.configuration, active.__contains__)


# Commit --------------------------------------------------------------------------------------------------------------


def maybe_commit(raft: "Raft") -> None:
    """Commit what a quorum holds, if its newest entry is of this term; my own copy counts once it is on my disk."""
    log, progress, me = raft.log, raft.progress, raft.member_id
    index = committed_index(log.configuration, lambda v: log.stable if v == me else progress[v].match)
    if index <= log.committed or log.term(index) != raft.term:
        return
    raft.uncommitted_bytes -= sum(len(entry.data) for entry in log.between(log.committed + 1, index))
    raft.uncommitted_bytes = max(0, raft.uncommitted_bytes)
    log.commit_to(index)
    if log.configuration_index <= log.committed:
        _on_configuration_committed(raft)


def _on_configuration_committed(raft: "Raft") -> None:
    configuration = raft.log.configuration
    if configuration.is_joint:
        _append(raft, EntryKind.CONFIGURATION, leave_joint(configuration).encode())
        _know_members(raft)
    elif not configuration.is_voter(raft.member_id):
        flush(raft)
        raft.become_follower(raft.term, 0)


def _has_committed_in_term(raft: "Raft") -> bool:
    return raft.log.term(raft.log.committed) == raft.term


# What leaves at the end of a step ------------------------------------------------------------------------------------


def flush(raft: "Raft") -> None:
    """Send what the handlers of this step made necessary."""
    if raft.reads.has_waiting and _has_committed_in_term(raft):
        _send_heartbeats(raft, raft.reads.start(raft.log.committed))
    if raft.reads.has_open:
        _answer_reads(raft)
    committed, last_index = raft.log.committed, raft.log.last_index
    for member, progress in raft.progress.items():
        if progress.next <= last_index:
            _send_append(raft, member, progress)
        reachable = min(progress.match, committed)
        if reachable > progress.commit_sent:
            progress.commit_sent = reachable
            raft.outgoing.append(CommitNotice(raft.member_id, member, raft.term, reachable))


def _answer_reads(raft: "Raft") -> None:
    for confirmed in raft.reads.take_confirmed(raft.log.configuration, raft.member_id):
        for read in confirmed.reads:
            if read.source == raft.member_id:
                raft.ready_reads.append(ReadReady(read.context, confirmed.index))
            else:
                raft.outgoing.append(
                    ReadReply(raft.member_id, read.source, raft.term, read.context, confirmed.index)
                )


def _send_heartbeats(raft: "Raft", number: int) -> None:
    committed = raft.log.committed
    for member, progress in raft.progress.items():
        commit = min(progress.match, committed)
        raft.outgoing.append(Heartbeat(raft.member_id, member, raft.term, commit, number))


def _send_append(raft: "Raft", member: int, progress: Progress, may_be_empty: bool = False) -> None:
    """Send what is new, as far as the window allows; an empty Append asks whether what was sent has arrived."""
    log, config = raft.log, raft.config
    is_question = may_be_empty and progress.state is not ProgressState.SNAPSHOT
    while True:
        has_room = progress.may_send(config.max_in_flight_messages, config.max_in_flight_bytes)
        if not is_question and not (has_room and progress.next <= log.last_index):
            return
        is_question = False
        previous = progress.next - 1
        previous_term = log.term(previous)
        if previous_term is None:
            if progress.is_active:
                progress.become_snapshot()
                raft.snapshots.append(member)
            return
        entries = log.slice(progress.next, config.max_append_bytes) if has_room else ()
        append = Append(raft.member_id, member, raft.term, previous, previous_term, entries, log.committed)
        raft.outgoing.append(append)
        last = previous + len(entries)
        progress.on_sent(last, sum([len(entry.data) for entry in entries]))
        progress.commit_sent = max(progress.commit_sent, min(log.committed, last))


HANDLERS: "Handlers" = {
    Propose: on_propose,
    Forward: on_forward,
    ProposeConfiguration: on_propose_configuration,
    Read: on_read,
    ReadRequest: on_read_request,
    Transfer: on_transfer,
    AppendReply: on_append_reply,
    HeartbeatReply: on_heartbeat_reply,
    SnapshotSent: on_snapshot_sent,
    Unreachable: on_unreachable,
    Tick: on_tick,
}
