"""Changes of membership: what a client may ask for, and how Raft's configuration follows the table of members.

A change is an entry of the log that alters the table (membership.py); it is answered once it is applied, so it survives
whatever its proposer does. The leader then moves Raft's configuration to what the table wants, one step at each tick
where one is due, in whatever state a former leader left it: there is nothing to clean up after a crash.

    a new voter    listens first, and gets its vote once it has caught up: a quorum never waits for a member that has
                   not been started yet
    a replaced one comes back under another id: it has lost its log, and with it its votes and acknowledgements
    a removed one  leaves the configuration; a leader hands over first. It stops when it knows that the configuration
                   without it is committed: from its own log, or because the others refuse to listen to it
    strict checks  (--strict-reconfig-check) are made by the leader, which knows who answers
"""

import logging
from collections.abc import Callable, Iterable
from dataclasses import replace
from random import Random
from typing import Protocol

from kvstore.member.config import MemberConfig
from kvstore.member.envelope import HEADER_BYTES, Purpose
from kvstore.member.membership import (
    NOT_ENOUGH_STARTED,
    Change,
    ChangeKind,
    Membership,
    decode_change,
    decode_info,
    encode_change,
    encode_info,
)
from kvstore.member.ports import (
    FAILED_PRECONDITION,
    NO_LEADER,
    TIMED_OUT,
    UNAVAILABLE,
    Done,
    Failed,
    MemberInfo,
    Ok,
    Result,
)
from kvstore.raft.configuration import Configuration, make_configuration
from kvstore.raft.core import Raft
from kvstore.raft.types import Entry, EntryKind, Input, ProposeConfiguration, Restored, Role, Transfer
from kvstore.storage import codec

logger = logging.getLogger("kvstore.member")

CHECK = "membership.check"
GREETING = "membership.greeting"
CONFIGURATION_NUMBER = 0  # of a ProposeConfiguration; requests of clients have greater ones
READY_SHARE = 0.9  # of the leader's log: what a learner must hold before it may vote, as etcd's
CAUGHT_UP_ENTRIES = 1_000  # a new voter gets its vote when it lacks no more
UNHEALTHY = Failed(UNAVAILABLE, "etcdserver: unhealthy cluster", certain=True)
NOT_IN_SYNC = Failed(
    FAILED_PRECONDITION, "etcdserver: can only promote a learner member which is in sync with leader", certain=True
)
_ALWAYS_CHECKED = (ChangeKind.PROMOTE, ChangeKind.REPLACE)
MEMBERSHIP_PURPOSES = (Purpose.PUBLISH, Purpose.CHANGE)


class Port(Protocol):
    """What Changes needs of its member."""

    @property
    def member_id(self) -> int: ...
    @property
    def raft(self) -> Raft: ...
    def wake(self) -> None: ...
    def propose_as(self, purpose: Purpose, data: bytes, done: Done) -> None: ...
    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None: ...
    def set_peers(self, peers: Iterable[MemberInfo]) -> None: ...


class Changes:
    """Of one member. `gone`: members that are in no configuration any more, and must not be listened to."""

    def __init__(self, port: Port, config: MemberConfig, table: Membership, random: Random) -> None:
        self.table = table
        self.gone: frozenset[int] = frozenset()
        self.has_left = False
        self.is_due = False  # whether take_step may have something for the next turn
        self.on_removed: Callable[[], None] | None = None
        self._port, self._config, self._random = port, config, random
        self._heard: dict[int, int] = {}  # by follower: the tick at which it was last known to answer this leader
        self._tick = self._silent_since = 0
        self._is_publishing = False

    # Requests ----------------------------------------------------------------------------------------------------

    def _new_member_id(self) -> int:
        """An id that no member has or had."""
        while True:
            member_id = self._random.getrandbits(64)
            if member_id and self.table.get(member_id) is None and not self.table.is_removed(member_id):
                return member_id

    def request(self, change: Change, done: Done) -> None:
        """Check, propose; `done(Ok(members))`, or Failed as etcd words it."""
        if not change.member_id:
            change = replace(change, member_id=self._new_member_id())
        if change.kind is ChangeKind.REPLACE:
            change = replace(change, new_id=self._new_member_id())
        if change.kind is ChangeKind.UPDATE or (
            change.kind not in _ALWAYS_CHECKED and not self._config.strict_reconfig_check
        ):
            self._propose(change, done)
            return
        leader = self._port.raft.leader
        if not leader:
            is_promotion = change.kind is ChangeKind.PROMOTE
            done(Failed(UNAVAILABLE, NO_LEADER, certain=True) if is_promotion else UNHEALTHY)
            return
        self._port.ask(leader, CHECK, encode_change(change), lambda answer: self._on_checked(change, done, answer))

    def _on_checked(self, change: Change, done: Done, answer: bytes | None) -> None:
        if answer is None:
            done(Failed(UNAVAILABLE, TIMED_OUT, certain=True))
            return
        code, text = codec.unpack(answer)
        if code:
            done(Failed(code, text, certain=True))
        else:
            self._propose(change, done)

    def _propose(self, change: Change, done: Done) -> None:
        self._port.propose_as(Purpose.CHANGE, encode_change(change), done)

    def on_check(self, payload: bytes, reply: Callable[[bytes], None]) -> None:
        """Another member (or this one) asks whether a change may be proposed."""
        refusal = self.refusal(decode_change(payload))
        reply(codec.pack([refusal.code, refusal.text] if refusal is not None else [0, ""]))

    def refusal(self, change: Change) -> Failed | None:
        """The leader's judgement, as etcd's: no change may cost the quorum."""
        raft, table, subject = self._port.raft, self.table, change.member_id
        if raft.role is not Role.LEADER:
            return Failed(UNAVAILABLE, "etcdserver: leader changed", certain=True)
        if change.kind is ChangeKind.PROMOTE:
            progress = raft.progress.get(subject)
            if progress is not None and progress.match < READY_SHARE * raft.log.last_index:
                return NOT_IN_SYNC
        if change.kind is ChangeKind.REPLACE:
            return self._refuse_to_replace(subject)
        if not self._config.strict_reconfig_check:
            return None
        voters = table.voters()
        started = {voter for voter in voters if (row := table.get(voter)) is not None and row.name}
        if change.kind is ChangeKind.ADD:
            return self._refuse_to_add(change, len(voters), len(started))
        if change.kind is ChangeKind.PROMOTE:
            return None if len(started) + 1 >= (len(voters) + 1) // 2 + 1 else NOT_ENOUGH_STARTED
        return self._refuse_to_remove(subject, voters, started)

    def _refuse_to_add(self, change: Change, voters: int, started: int) -> Failed | None:
        is_lone_founder = voters == 1 and started == 1
        if not change.is_learner and not is_lone_founder and started < (voters + 1) // 2 + 1:
            return NOT_ENOUGH_STARTED
        return None if self.answering() >= self.table.voters() else UNHEALTHY

    def _refuse_to_remove(self, subject: int, voters: frozenset[int], started: set[int]) -> Failed | None:
        if subject not in voters:
            return None  # a learner costs no quorum; who is unknown is refused when the change is applied
        others = voters - {subject}
        if not others or len(started - {subject}) < len(others) // 2 + 1:
            return NOT_ENOUGH_STARTED
        answering = self.answering()
        if subject not in answering:
            return None  # the quorum does without it already
        return UNHEALTHY if len(answering & voters) - 1 < 1 + (len(voters) - 1) // 2 else None

    def _refuse_to_replace(self, subject: int) -> Failed | None:
        """Who runs is not replaced: what asks for it may be a damaged copy of its directory."""
        answering, voters = self.answering(), self.table.voters()
        if subject in answering:
            return Failed(FAILED_PRECONDITION, f"member {subject:x} answers: it is not replaced while it runs", certain=True)
        return None if len(answering & voters) > len(voters) // 2 else UNHEALTHY

    def answering(self) -> set[int]:
        """Who has answered this leader within an election time-out."""
        since = self._tick - self._config.election_ticks
        answering = {member for member, tick in self._heard.items() if tick >= since}
        answering |= {member for member, progress in self._port.raft.progress.items() if progress.is_active}
        return answering | {self._port.member_id}

    # Entries -----------------------------------------------------------------------------------------------------

    def apply(self, index: int, data: bytes) -> Result:
        """Apply an entry of MEMBERSHIP_PURPOSES; the value for its waiter is the list of members."""
        refusal = apply_entry(self.table, index, data)
        return Ok(self.table.listed()) if refusal is None else refusal

    def on_changed(self) -> None:
        """The table, or the committed configuration, is another: links, and who is listened to, follow it."""
        log, table, me = self._port.raft.log, self.table, self._port.member_id
        self._port.set_peers(table.peers(log.configuration))
        if log.committed >= table.index:  # a member that joined knows the table before it has the log: it must not judge
            staying = {*log.configuration.members(), *log.configuration_at(log.committed).members()}
            self.gone = frozenset(member for member in table.removed_ids() if member not in staying)
        if me in self.gone:
            self.leave()
        self._look_later()

    def leave(self) -> None:
        """This member was removed, for certain: whoever runs it is told, once."""
        if not self.has_left and self.on_removed is not None:
            self.has_left = True
            self.on_removed()

    # The leader --------------------------------------------------------------------------------------------------

    def tick(self, tick: int) -> None:
        """Time passes: publish, look who answers, take the next step."""
        self._tick = tick
        raft = self._port.raft
        if raft.role is Role.LEADER:
            self._heard |= {member: tick for member, progress in raft.progress.items() if progress.is_active}
            self._look_later()
        elif self._heard:
            self._heard.clear()
        if me_gone := self._port.member_id in self.gone:
            self.leave()
        if raft.leader and not self.table.is_removed(self._port.member_id):
            self._silent_since = tick
            self._publish()
        elif not me_gone and (tick - self._silent_since) % (2 * self._config.election_ticks) == 1:
            self._greet()

    def _greet(self) -> None:
        """Without a leader: say anything to the others, because they refuse to listen to a member that is gone."""
        for peer in self.table.listed():
            if peer.member_id != self._port.member_id:
                self._port.ask(peer.member_id, GREETING, b"", lambda answer: None)

    def _look_later(self) -> None:
        if self._port.raft.role is Role.LEADER:
            self.is_due = True
            self._port.wake()

    def take_step(self) -> list[Input]:
        """What brings Raft's configuration one step nearer to the table, if this member leads and nothing is under way.

        It must come first in the core's next step: nothing may be appended between the look at the log and it.
        """
        self.is_due = False
        raft, me = self._port.raft, self._port.member_id
        if raft.role is not Role.LEADER or raft.transferee:
            return []
        current = raft.log.configuration
        target = self._next_configuration(current)
        if target == current or not self._may_step():
            return []
        if me not in target.voters:
            heir = self.heir(target)
            if heir:
                logger.info("member %x was removed: hands leadership to %x", me, heir)
                return [Transfer(heir)]
            target = make_configuration({*target.voters, me}, target.learners)  # until there is somebody to lead
            if target == current:
                return []
        logger.info("member %x: configuration %s becomes %s", me, _shown(current), _shown(target))
        return [ProposeConfiguration(CONFIGURATION_NUMBER, target)]

    def _may_step(self) -> bool:
        """Whether a configuration may be appended now.

        One at a time, none before an entry of this term is committed (the core would refuse both), and none while a
        change of the table is in the log but not applied: so each configuration in the log follows from the changes
        before it, and who has applied a removal knows every configuration that still has the member that was removed.
        """
        raft, log = self._port.raft, self._port.raft.log
        if log.configuration.is_joint or log.configuration_index > log.committed or log.applied < log.committed:
            return False
        if log.term(log.committed) != raft.term:
            return False
        return not any(map(is_membership, log.between(log.applied + 1, log.last_index)))

    def _next_configuration(self, current: Configuration) -> Configuration:
        """What the table wants; new voters listen until they have caught up."""
        voters = self.table.voters()
        waiting = {voter for voter in voters if not current.is_voter(voter) and not self._is_caught_up(voter)}
        return make_configuration(voters - waiting, self.table.learners() | waiting)

    def _is_caught_up(self, member: int) -> bool:
        raft = self._port.raft
        progress = raft.progress.get(member)
        if progress is None or not (progress.is_active or member in self._heard):
            return False
        return progress.match > 0 and progress.match + CAUGHT_UP_ENTRIES >= raft.log.last_index

    def heir(self, target: Configuration | None = None) -> int:
        """The voter (in `target` too) that is nearest to this leader and answers; 0: there is none."""
        raft, answering = self._port.raft, self.answering()
        voters = set(raft.log.configuration.voters)
        if target is not None:
            voters.intersection_update(target.voters)
        known = [(raft.progress[voter].match, voter) for voter in voters if voter in raft.progress and voter in answering]
        return max(known, default=(0, 0))[1]

    # Publishing --------------------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Tell the cluster this member's name and client URLs until the table shows them."""
        info = self._config.own_info()
        row = self.table.get(self._port.member_id)
        if self._is_publishing or row is None or (row.name, row.client_urls) == (info.name, info.client_urls):
            return
        self._is_publishing = True
        self._port.propose_as(Purpose.PUBLISH, encode_info(info), self._on_published)

    def _on_published(self, result: Result) -> None:
        self._is_publishing = False


def apply_entry(table: Membership, index: int, data: bytes) -> Failed | None:
    """Apply an entry of MEMBERSHIP_PURPOSES to a table; why it was refused, if it was."""
    body = data[HEADER_BYTES:]
    if data[0] == Purpose.PUBLISH:
        table.publish(index, decode_info(body))
        return None
    change = decode_change(body)
    refusal = table.apply(index, change)
    logger.info("%s %x: %s", change.kind.name.lower(), change.member_id, refusal.text if refusal else "done")
    return refusal


def restored_table(table: Membership, restored: Restored) -> Membership:
    """The table as of the mark, brought to where the state is."""
    for entry in restored.entries[: restored.applied - restored.snapshot.index]:
        if is_membership(entry):
            apply_entry(table, entry.index, entry.data)
    return table


def is_membership(entry: Entry) -> bool:
    return entry.kind is EntryKind.COMMAND and entry.data[0] in MEMBERSHIP_PURPOSES


def _shown(configuration: Configuration) -> str:
    voters, learners = (",".join(f"{member:x}" for member in half) for half in (configuration.voters, configuration.learners))
    return f"[{voters}]" + (f" + learners [{learners}]" if learners else "")
