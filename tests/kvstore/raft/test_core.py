"""Single steps of the core where a script would hide the point."""

from random import Random

import pytest

from kvstore.raft.configuration import Configuration, decode_configuration, leave_joint, make_configuration, next_step
from kvstore.raft.core import Raft, RaftConfig
from kvstore.raft.log import LogTail
from kvstore.raft.progress import Progress, ProgressState
from kvstore.raft.quorum import committed_index, has_quorum, is_lost
from kvstore.raft.reads import ReadRounds, Waiting
from kvstore.raft.types import (
    Append,
    AppendReply,
    Campaign,
    Compacted,
    Entry,
    EntryKind,
    Forward,
    HardState,
    Heartbeat,
    HeartbeatReply,
    InstallSnapshot,
    PeerDown,
    Persisted,
    Propose,
    ProposeConfiguration,
    Read,
    Restored,
    Role,
    SnapshotMark,
    Tick,
    VoteReply,
    VoteRequest,
)

THREE = make_configuration((1, 2, 3))


def entries(first: int, *terms: int) -> tuple[Entry, ...]:
    return tuple(Entry(first + i, term, EntryKind.COMMAND, b"%d" % term) for i, term in enumerate(terms))


def restored(*terms: int, term: int = 1, applied: int = 0, configuration: Configuration = THREE) -> Restored:
    return Restored(HardState(term, 0), SnapshotMark(0, 0, configuration), entries(1, *terms), applied)


def follower(*terms: int, term: int = 1, applied: int = 0) -> Raft:
    return Raft(RaftConfig(1, boot_election_ticks=0), restored(*terms, term=term, applied=applied), Random(0))


def leader_of_three(*terms: int) -> Raft:
    raft = follower(*terms)
    raft.step([Campaign()])
    vote = raft.step([VoteReply(2, 1, raft.term + 1, True, pre=True)])
    assert vote.persist is not None
    raft.step([Persisted(vote.persist.number), VoteReply(2, 1, raft.term, True, pre=False)])
    assert raft.role is Role.LEADER
    return raft


def test_an_fsync_of_entries_that_were_replaced_meanwhile_makes_nothing_stable() -> None:
    log = LogTail(restored(1))
    log.merge(entries(2, 1, 1))
    log.hand_over(1)
    log.merge(entries(2, 2))
    log.hand_over(2)
    log.on_persisted(1)
    assert log.stable == 1
    log.on_persisted(2)
    assert log.stable == 2


def test_a_snapshot_that_is_in_the_log_already_does_not_drop_what_was_acknowledged_after_it() -> None:
    raft = follower(1, 1, 1, 1)
    effects = raft.step([InstallSnapshot(2, 1, 1, SnapshotMark(2, 1, THREE))])
    assert effects.install is None
    assert (raft.log.last_index, raft.log.committed) == (4, 2)
    assert effects.send_after_persist == (AppendReply(1, 2, 1, 2),)


def test_an_append_commits_no_more_than_it_has_shown_to_agree() -> None:
    raft = follower(1, 1, 1)
    raft.step([Append(2, 1, 2, 1, 1, (), commit=3)])
    assert raft.log.committed == 1


def test_an_append_behind_the_commit_index_is_acknowledged_through_it() -> None:
    raft = follower(1, 1, 1, applied=3)
    raft.step([Compacted(2)])
    effects = raft.step([Append(2, 1, 1, 1, 1, entries(2, 1, 1, 1), commit=3)])
    assert raft.log.last_index == 4
    assert effects.send_after_persist == (AppendReply(1, 2, 1, 4),)


def test_the_answer_to_an_earlier_round_confirms_no_later_read() -> None:
    rounds = ReadRounds()
    rounds.add(Waiting(1, 100))
    first = rounds.start(5)
    rounds.add(Waiting(1, 101))
    rounds.start(6)
    rounds.acknowledge(2, first)
    assert [c.reads for c in rounds.take_confirmed(THREE, 1)] == [(Waiting(1, 100),)]


def test_an_answer_from_a_later_round_confirms_the_earlier_reads() -> None:
    rounds = ReadRounds()
    rounds.add(Waiting(1, 100))
    rounds.start(5)
    rounds.add(Waiting(3, 101))
    rounds.acknowledge(2, rounds.start(6))
    assert [(c.index, c.reads) for c in rounds.take_confirmed(THREE, 1)] == [
        (5, (Waiting(1, 100),)),
        (6, (Waiting(3, 101),)),
    ]


def test_a_rejection_that_is_out_of_date_changes_nothing() -> None:
    progress = Progress(5)
    progress.on_accepted(4)
    progress.become_replicate()
    assert not progress.on_rejected(3, 2)
    assert (progress.state, progress.match) == (ProgressState.REPLICATE, 4)


def test_a_second_membership_change_waits_for_the_first() -> None:
    raft = leader_of_three()
    assert raft.step([ProposeConfiguration(1, make_configuration((1, 2)))]).dropped == (1,)  # nothing of this term yet
    raft.step([Persisted(raft.persist_number), AppendReply(2, 1, raft.term, 1)])
    assert raft.step([ProposeConfiguration(2, make_configuration((1, 2)))]).accepted == (2,)
    assert raft.step([ProposeConfiguration(3, make_configuration((1,)))]).dropped == (3,)


def test_a_vote_is_withheld_while_the_leader_is_heard_unless_it_hands_over() -> None:
    raft = follower()
    raft.step([Heartbeat(2, 1, 1, 0, 0)])
    assert raft.step([VoteRequest(3, 1, 9, 0, 0, pre=False)]).send_after_persist == ()
    assert raft.term == 1
    assert raft.step([VoteRequest(3, 1, 9, 0, 0, pre=False, forced=True)]).send_after_persist[0].term == 9


def test_a_vote_is_not_given_twice_in_a_term() -> None:
    raft = follower()
    assert raft.step([VoteRequest(2, 1, 2, 0, 0, pre=False)]).send_after_persist == (VoteReply(1, 2, 2, True, False),)
    assert raft.step([VoteRequest(3, 1, 2, 0, 0, pre=False)]).send == (VoteReply(1, 3, 2, False, False),)


def test_a_pre_vote_changes_neither_term_nor_vote() -> None:
    raft = follower()
    effects = raft.step([VoteRequest(2, 1, 7, 0, 0, pre=True)])
    assert effects.send == (VoteReply(1, 2, 7, True, True),)
    assert (raft.term, raft.vote, effects.persist) == (1, 0, None)


def test_a_leader_that_has_certainly_gone_is_not_waited_for() -> None:
    raft = Raft(RaftConfig(1), restored(), Random(0))
    raft.step([Heartbeat(2, 1, 1, 0, 0)])
    assert raft.timeout >= 10
    raft.step([PeerDown(3)])
    assert raft.leader == 2
    raft.step([PeerDown(2)])
    assert (raft.leader, raft.timeout <= 3) == (0, True)


def test_a_forward_of_another_term_is_not_taken() -> None:
    raft = leader_of_three()
    last = raft.log.last_index
    raft.step([Forward(2, 1, raft.term - 1, 1, (b"old",))])
    assert raft.log.last_index == last
    raft.step([Forward(2, 1, raft.term, 2, (b"new",)), Forward(2, 1, raft.term, 2, (b"new",))])
    assert raft.log.last_index == last + 1


def test_a_request_without_a_leader_is_reported_as_dropped() -> None:
    effects = follower().step([Propose(7, (b"a",)), Read(8)])
    assert (effects.dropped, effects.dropped_reads, effects.accepted) == ((7,), (8,), ())


def test_two_leaders_of_one_term_are_a_bug_and_not_a_surprise() -> None:
    raft = follower()
    raft.step([Heartbeat(2, 1, 1, 0, 0)])
    with pytest.raises(AssertionError, match="both lead term 1"):
        raft.step([Heartbeat(3, 1, 1, 0, 0)])


def test_a_learner_never_campaigns() -> None:
    raft = Raft(RaftConfig(9), restored(configuration=Configuration((1, 2), (), (9,))), Random(0))
    for _ in range(100):
        assert raft.step([Tick()]).send == ()


def test_a_joint_configuration_needs_both_majorities() -> None:
    joint = Configuration((1, 2, 3), (3, 4, 5), ())
    assert has_quorum(joint, {1, 2, 4, 5}.__contains__)
    assert not has_quorum(joint, {1, 2, 3}.__contains__)
    assert committed_index(joint, {1: 9, 2: 9, 3: 1, 4: 5, 5: 4}.__getitem__) == 4
    assert is_lost(joint, {4: False, 5: False})
    assert joint.electorate() == (1, 2, 3, 4, 5)
    assert leave_joint(joint) == Configuration((1, 2, 3))


def test_a_configuration_survives_its_encoding() -> None:
    whole = Configuration((1, 2**63), (3,), (4, 5))
    assert decode_configuration(whole.encode()) == whole


def test_one_voter_more_or_less_needs_no_joint_step() -> None:
    assert next_step(THREE, make_configuration((1, 2))) == make_configuration((1, 2))
    assert next_step(THREE, make_configuration((1, 4))) == Configuration((1, 4), (1, 2, 3))


def test_the_fsync_of_an_earlier_campaign_is_no_vote_in_a_later_one() -> None:
    raft = Raft(RaftConfig(1), restored(configuration=make_configuration((1,))), Random(0))
    raft.step([Campaign()])
    raft.step([Campaign()])
    roles = []
    for number in (1, 2):
        raft.step([Persisted(number)])
        roles.append(raft.role)
    assert roles == [Role.CANDIDATE, Role.LEADER]


def test_every_read_needs_an_answer_to_a_heartbeat_that_was_sent_after_it() -> None:
    raft = leader_of_three()
    raft.step([Persisted(raft.persist_number), AppendReply(2, 1, raft.term, 1)])
    raft.step([Read(100)])
    assert [ready.context for ready in raft.step([HeartbeatReply(2, 1, raft.term, 1)]).reads] == [100]
    assert raft.step([Read(101)]).reads == ()
    assert raft.step([HeartbeatReply(2, 1, raft.term, 1)]).reads == ()
    assert [ready.context for ready in raft.step([HeartbeatReply(2, 1, raft.term, 2)]).reads] == [101]


def test_who_is_left_out_by_an_uncommitted_configuration_still_campaigns() -> None:
    change = Entry(1, 1, EntryKind.CONFIGURATION, make_configuration((2,)).encode())
    start = Restored(HardState(1, 0), SnapshotMark(0, 0, make_configuration((1, 2))), (change,), 0)
    sent = Raft(RaftConfig(1), start, Random(0)).step([Campaign()]).send
    assert [(type(message), message.to) for message in sent] == [(VoteRequest, 2)]
