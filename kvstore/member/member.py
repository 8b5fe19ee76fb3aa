"""Member: the inbox and the turn. Synchronous; the driver (or the simulator) calls `turn` after each wake-up.

One turn: propose and ask what has gathered, step the core with everything that came in, and carry out its effects in
their order: send, save, promise, apply, answer. A disk that saves at once puts Persisted back into the inbox, so the
turn goes round once more; a disk thread does the same later.
"""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from random import Random

from kvstore.member.bootstrap import found, founding_membership, isolate
from kvstore.member.changes import CHECK, Changes, restored_table
from kvstore.member.config import MemberConfig
from kvstore.member.envelope import HEADER, HEADER_BYTES, Purpose, seal, seal_command
from kvstore.member.membership import Change, decode_membership
from kvstore.member.ports import (
    FAILED_PRECONDITION,
    NO_LEADER,
    NOT_LEADER,
    RESOURCE_EXHAUSTED,
    STOPPED,
    TIMED_OUT,
    TOO_MANY_REQUESTS,
    UNAVAILABLE,
    Disk,
    Done,
    Failed,
    Log,
    MemberInfo,
    MemberStatus,
    Ok,
    Snapshots,
    StateMachine,
    Transport,
)
from kvstore.member.upkeep import Upkeep
from kvstore.member.waiters import Numbers, Proposals, Reads, Transfers
from kvstore.raft.core import Raft
from kvstore.raft.types import (
    Campaign,
    Effects,
    Entry,
    EntryKind,
    Input,
    InstallSnapshot,
    Message,
    PeerDown,
    Persist,
    Persisted,
    Propose,
    Read,
    Role,
    SnapshotMark,
    SnapshotSent,
    Tick,
    Transfer,
    Unreachable,
)

logger = logging.getLogger("kvstore.member")
BATCH_ENTRIES = 4096
BATCH_BYTES = 1 << 20
READ_RETRY_TICKS = 5
Answerer = Callable[[bytes, Callable[[bytes], None]], None]


class Member:
    """One member. All methods belong to one thread; `wake` asks the driver for a turn soon."""

    def __init__(
        self,
        config: MemberConfig,
        log: Log,
        state: StateMachine,
        transport: Transport,
        disk: Disk,
        snapshots: Snapshots,
        random: Random,
        wake: Callable[[], None],
    ) -> None:
        self.config = config
        self.member_id, self.cluster_id = config.member_id, config.cluster_id
        self._log, self._state, self._transport, self._disk, self.wake = log, state, transport, disk, wake
        self.upkeep = Upkeep(config, log, state, transport, disk, snapshots)
        self._timeout_ticks = config.request_timeout_ticks
        self._numbers = Numbers(random.getrandbits(31))
        restored = log.load(state.applied_index) or found(config, log)
        if config.force_new_cluster:
            restored = isolate(config, log, restored)
        self.raft = Raft(config.raft_config(), restored, random)
        saved = log.membership()
        table = decode_membership(saved) if saved else founding_membership(config)
        self.changes = Changes(self, config, restored_table(table, restored), random)
        self.applied_index = restored.applied
        self.term, self.leader, self.is_leader = self.raft.term, 0, False
        self._proposals = Proposals(self._timeout_ticks, config.election_ticks)
        self._reads, self._transfers = Reads(), Transfers()
        self._inbox: list[Input] = []
        self._unsaved: list[Persist] = []
        self._is_saving = False
        self._ticks = self._save_tick = 0  # now, and when the save that is under way began
        self._promises: deque[tuple[int, tuple[Message, ...]]] = deque()
        self._is_holding = False  # a proposal or read was dropped: try again at the next tick or leader
        self._is_stopped = self._is_in_turn = False
        self._on_leadership: list[Callable[[int, int], None]] = []
        self._answerers: dict[str, Answerer] = {CHECK: self.changes.on_check}
        if self.raft.log.configuration.electorate() == (self.member_id,):
            self._inbox.append(Campaign())
        self.changes.on_changed()
        wake()

    # Requests ----------------------------------------------------------------------------------------------------

    def propose(self, data: bytes, done: Done) -> None:
        """Have `data` applied by every member; `done` gets what this member's state machine returned for it."""
        number = self._numbers.take()
        self._propose(number, seal_command(self.member_id, number, data), done)

    def propose_as(self, purpose: Purpose, data: bytes, done: Done) -> None:
        """Have something other than a command applied by every member."""
        number = self._numbers.take()
        self._propose(number, seal(purpose, self.member_id, number, data), done)

    def change_membership(self, change: Change, done: Done) -> None:
        """Add (id 0: draw one), remove, update, promote; `done(Ok(tuple[MemberInfo, ...]))` as it is then, or Failed."""
        self.changes.request(change, done)

    def _propose(self, number: int, sealed: bytes, done: Done) -> None:
        if len(self._proposals) >= self.config.max_pending_proposals or self._is_stopped:
            code, text = (UNAVAILABLE, STOPPED) if self._is_stopped else (RESOURCE_EXHAUSTED, TOO_MANY_REQUESTS)
            done(Failed(code, text, certain=True))
            return
        self._proposals.add(number, sealed, done, self._ticks)
        self.wake()

    def read(self, done: Done) -> None:
        """`done(Ok(None))` once the state holds everything that was committed when read was called."""
        if self._is_stopped:
            done(Failed(UNAVAILABLE, STOPPED, certain=True))
            return
        self._reads.add(done, self._ticks + self._timeout_ticks)
        self.wake()

    def transfer_leadership(self, to: int, done: Done) -> None:
        """Hand leadership to the voter `to`; Failed(NOT_LEADER) when this member does not lead."""
        if not self.is_leader:
            done(Failed(FAILED_PRECONDITION, NOT_LEADER, certain=True))
            return
        self._transfers.add(to, done, self._ticks + self.config.election_ticks + 1)
        self._inbox.append(Transfer(to))
        self.wake()

    def on_leadership(self, callback: Callable[[int, int], None]) -> None:
        """Call `callback(leader, term)` at the end of each turn that changed either; leader 0: none is known."""
        self._on_leadership.append(callback)

    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None:
        """One question to another member; None when no answer came in time."""
        self._transport.ask(to, subject, payload, done)

    def answer(self, subject: str, handler: Answerer) -> None:
        """Answer questions of this subject: handler(payload, reply)."""
        self._answerers[subject] = handler

    def members(self) -> tuple[MemberInfo, ...]:
        """All members, by id, as far as this one knows."""
        return self.changes.table.listed()

    def set_peers(self, peers: Iterable[MemberInfo]) -> None:
        """Whom the transport is to reach."""
        self._transport.set_peers(tuple(peers))

    @property
    def has_room(self) -> bool:  # the disk took what was last written to it
        return not (self._disk.is_full or self.upkeep.is_full)

    def status(self) -> MemberStatus:
        """One consistent look."""
        raft, log = self.raft, self.raft.log
        return MemberStatus(
            cluster_id=self.cluster_id,
            member_id=self.member_id,
            leader=raft.leader,
            term=raft.term,
            role=raft.role.name.lower(),
            commit_index=log.committed,
            applied_index=self.applied_index,
            last_index=log.last_index,
            first_index=log.snapshot.index + 1,
            is_learner=self.changes.table.is_learner(self.member_id),
            members=self.members(),
            pending_proposals=len(self._proposals),
            log_bytes=log.bytes,
        )

    # What the driver and the transport bring ---------------------------------------------------------------------

    def deliver(self, messages: Sequence[Message]) -> None:
        """Messages from another member, in order."""
        self._inbox += messages
        self.wake()

    def deliver_snapshot(self, install: InstallSnapshot, membership: bytes) -> None:
        """A snapshot is complete in Snapshots, under install.source."""
        if self.has_room:  # else it is as good as lost: the leader sends another
            self.upkeep.expect(install, membership)
            self.deliver((install,))

    def on_lost(self, member: int, *, has_gone: bool) -> None:
        """Messages to `member` were lost; `has_gone`: its host refuses connections, so its process has ended."""
        self._proposals.on_lost(member, self._ticks)
        self._inbox.append(PeerDown(member) if has_gone else Unreachable(member))
        self.wake()

    def on_ask(self, subject: str, payload: bytes, reply: Callable[[bytes], None]) -> None:
        """A question from another member; one without a handler gets no answer."""
        handler = self._answerers.get(subject)
        if handler is not None:
            handler(payload, reply)

    def tick(self) -> None:
        """config.tick_seconds have passed."""
        self._ticks += 1
        self._is_holding = False
        self._inbox.append(Tick())
        self._proposals.expire(self._ticks)
        self._reads.expire(self._ticks, TIMED_OUT if self.leader else NO_LEADER)
        self._reads.ask_again(self._ticks - READ_RETRY_TICKS)
        self._transfers.expire(self._ticks)
        self._give_way_when_stalled()
        self.changes.tick(self._ticks)
        self.upkeep.commit_if_due(self._ticks, self.applied_index)
        if (compacted := self.upkeep.compact(self.raft.log, self.applied_index, self.changes.table)) is not None:
            self._inbox.append(compacted)
        self.wake()

    def stop(self) -> None:
        """Fail who waits, and make the state durable. The caller closes log and state afterwards."""
        self._is_stopped = True
        self._disk.drain()
        self._proposals.stop()
        self._reads.stop()
        self.upkeep.commit()

    # The turn ----------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        """Take everything that has gathered, and do what follows from it."""
        if self._is_stopped:
            return
        self._is_in_turn = True
        applied = self.applied_index
        inputs = self._requests()
        if self.changes.is_due:
            inputs = self.changes.take_step() + inputs
        while True:
            inputs += self._inbox
            self._inbox.clear()
            self._carry_out(self.raft.step(inputs))
            if not self._inbox and not self.raft.has_more:
                break
            inputs = []
        if self.applied_index != applied:
            self._state.end_of_turn()
        self._reads.answer(self.applied_index)
        self._note_leadership()
        self._is_in_turn = False
        if (self._proposals.has_unsent or self._reads.has_new) and self.leader and not self._is_holding:
            self.wake()

    def _requests(self) -> list[Input]:
        """New proposals and reads, first in the step, so that they belong to the term that is known now."""
        inputs: list[Input] = []
        if not self.raft.leader or self._is_holding:
            return inputs
        if self._proposals.has_unsent:
            number = self._numbers.take()
            batch = self._proposals.next_batch(number, self.raft.term, BATCH_ENTRIES, BATCH_BYTES)
            if batch:
                inputs.append(Propose(number, batch))
        if self._reads.has_new:
            context = self._numbers.take()
            self._reads.ask(context, self._ticks)
            inputs.append(Read(context))
        return inputs

    def _carry_out(self, effects: Effects) -> None:
        if effects.send:
            self._transport.send(effects.send)
        if effects.install is not None:
            self._install(effects.install)
        self.upkeep.forget_unwanted()
        if effects.persist is not None or effects.send_after_persist:
            self._persist(effects)
        if effects.apply:
            self._apply(effects.apply)
        for ready in effects.reads:
            self._reads.on_ready(ready.context, ready.index)
        for number in effects.dropped:
            self._proposals.on_dropped(number)
            self._is_holding = True
        for context in effects.dropped_reads:
            self._reads.on_dropped(context)
            self._is_holding = True
        for peer in effects.snapshots:
            self._send_snapshot(peer)

    def _install(self, mark: SnapshotMark) -> None:
        unsaved, self._unsaved = self._unsaved, []
        self.changes.table = self.upkeep.install(mark, unsaved)
        self.applied_index = mark.index
        self.changes.on_changed()
        self._proposals.on_snapshot(mark.term)

    def _send_snapshot(self, peer: int) -> None:
        def on_done(index: int, complete: bool) -> None:
            self._inbox.append(SnapshotSent(peer, index, complete))
            self.wake()

        self.upkeep.send_snapshot(self.raft, peer, self.changes.table, on_done)

    def _persist(self, effects: Effects) -> None:
        persist, promises = effects.persist, effects.send_after_persist
        if persist is not None:
            self._unsaved.append(persist)
        elif not self._is_saving and not self._unsaved:
            self._transport.send(promises)
            return
        if promises:
            self._promises.append((self.raft.persist_number, promises))
        self._save()

    def _save(self) -> None:
        """One durable transaction for all that waits; the disk is asked for one at a time."""
        if self._is_saving or not self._unsaved:
            return
        batch, self._unsaved = self._unsaved, []
        self._is_saving, self._save_tick = True, self._ticks
        # a leader's followers work while its disk does; a follower's acknowledgement is all that its leader waits for
        saved = batch[-1].number
        self._disk.submit(lambda: self._log.save(*batch), lambda: self._on_saved(saved), is_awaited=not self.is_leader)

    def _on_saved(self, number: int) -> None:
        self._is_saving = False
        while self._promises and self._promises[0][0] <= number:
            self._transport.send(self._promises.popleft()[1])
        self._inbox.append(Persisted(number))
        self._save()
        if not self._is_in_turn:
            self.wake()

    def _apply(self, entries: tuple[Entry, ...]) -> None:
        apply, skip, take, me = self._state.apply, self._state.skip, self._proposals.take, self.member_id
        has_changed = False
        for entry in entries:
            data, value = entry.data, None
            if entry.kind is not EntryKind.COMMAND:
                skip(entry.index, entry.term)
                has_changed = has_changed or entry.kind is EntryKind.CONFIGURATION
                continue
            purpose, origin, number = HEADER.unpack_from(data)
            if purpose != Purpose.COMMAND:
                has_changed = True
                result = self.changes.apply(entry.index, data)
                skip(entry.index, entry.term)
                if origin == me and (waiter := take(number, None)) is not None:
                    waiter[0](result)
                continue
            value = apply(entry.index, entry.term, data[HEADER_BYTES:])
            if origin == me and (waiter := take(number, None)) is not None:
                waiter[0](Ok(value))
        self.applied_index = entries[-1].index
        self._proposals.on_applied(entries[-1].term)
        if has_changed:
            self.changes.on_changed()

    def _note_leadership(self) -> None:
        raft = self.raft
        if raft.leader == self.leader and raft.term == self.term:
            return
        self.leader, self.term, self.is_leader = raft.leader, raft.term, raft.role is Role.LEADER
        self._is_holding = False
        self._reads.ask_again(self._ticks + 1)
        logger.info("member %x: leader %x in term %d", self.member_id, self.leader, self.term)
        self._proposals.on_leader(self.leader, self._ticks)
        self._transfers.on_leader(self.leader)
        for callback in self._on_leadership:
            callback(self.leader, self.term)

    def _give_way_when_stalled(self) -> None:
        """A leader whose disk has not answered for an election time-out hands over: it could apply nothing."""
        stalled = self._ticks - self._save_tick if self._is_saving else 0
        if self.is_leader and stalled and stalled % self.config.election_ticks == 0:
            best = max(self.raft.progress.items(), key=lambda item: item[1].match, default=None)
            if best is not None:
                logger.warning("member %x: the disk is stalled, hands leadership to %x", self.member_id, best[0])
                self._inbox.append(Transfer(best[0]))

