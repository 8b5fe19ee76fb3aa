"""What the services share: the member, the state, limits, and the header of every answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kvstore.api import errors
from kvstore.api.access import Access, Check
from kvstore.member.membership import Change
from kvstore.member.ports import Done, Failed, MemberStatus, Result
from kvstore.mvcc import commands, wire
from kvstore.mvcc import errors as state_errors
from kvstore.mvcc.errors import Failure
from kvstore.mvcc.permissions import encode_identity
from kvstore.mvcc.state import StateMachine
from kvstore.mvcc.working import Outcome
from kvstore.rpc import Call

__all__ = ["ApiLimits", "MemberPort", "Node"]

SERVER_VERSION = "3.7.0"  # of the API that is served; Kubernetes switches features on by it
CLUSTER_VERSION = "3.7.0"

Answer = Callable[[bytes], None]


class MemberPort(Protocol):
    """What the services need of kvstore.member.Member; its docstring is the contract."""

    @property
    def cluster_id(self) -> int: ...
    @property
    def member_id(self) -> int: ...
    @property
    def term(self) -> int: ...
    @property
    def leader(self) -> int: ...
    @property
    def is_leader(self) -> bool: ...
    @property
    def applied_index(self) -> int: ...
    @property
    def has_room(self) -> bool: ...
    def propose(self, data: bytes, done: Done) -> None: ...
    def read(self, done: Done) -> None: ...
    def status(self) -> MemberStatus: ...
    def on_leadership(self, callback: Callable[[int, int], None]) -> None: ...
    def transfer_leadership(self, to: int, done: Done) -> None: ...
    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None: ...
    def answer(self, subject: str, handler: Callable[[bytes, Answer], None]) -> None: ...
    def change_membership(self, change: Change, done: Done) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Limits and times of the client API, named as etcd's flags."""

    max_request_bytes: int = 1_572_864
    max_txn_operations: int = 128
    quota_backend_bytes: int = 2 << 30  # of pages in use; writes are refused above it
    election_timeout_seconds: float = 1.0
    max_learners: int = 1
    watch_progress_notify_interval_seconds: float = 600.0
    lease_checkpoint_interval_seconds: float = 300.0  # 0: a new leader gives every lease its full time again


class Node:
    """One member as its services see it."""

    def __init__(self, member: MemberPort, state: StateMachine, limits: ApiLimits, access: Access) -> None:
        self.member = member
        self.state = state
        self.limits = limits
        self.access = access
        self._identity = wire.number_field(b"\x08", member.cluster_id) + wire.number_field(b"\x10", member.member_id)
        self._header_revision = self._header_term = -1
        self._header = self._encoded_term = b""
        self.failed_proposals = self.failed_reads = self.slow_reads = 0  # for the metrics
        self._has_space = True
        self.on_no_space: Callable[[], None] = lambda: None  # set by who raises the alarm
        self._unchecked_bytes = 0  # proposed here since the last look
        self._space_checked_index = -SPACE_CHECK_INTERVAL_ENTRIES

    def header(self, revision: int) -> bytes:
        """Return the encoded header field (number 1) of an answer; `revision` 0 leaves the revision out."""
        term = self.member.term
        if revision == self._header_revision and term == self._header_term:
            return self._header
        if term != self._header_term:
            self._encoded_term = wire.number_field(b"\x20", term)
        content = self._identity + wire.number_field(b"\x18", revision) + self._encoded_term
        self._header_revision, self._header_term = revision, term
        self._header = wire.message_field(b"\x0a", content)
        return self._header

    def admit(self, call: Call) -> bool:
        """Refuse a call that requires a leader when there is none; return whether it may go on."""
        if not self.member.leader and call.metadata.get("hasleader") == "true":
            errors.refuse(call, errors.NO_LEADER)
            return False
        return True

    def has_space(self, needed_bytes: int = 0, *, share: float = 1.0) -> bool:
        """Tell whether the store is within its quota and its map, or a share of them, and its disk takes writes.

        That is looked at every so many entries, and bytes asked for here.
        """
        if not self.member.has_room:
            return False
        applied = self.member.applied_index
        self._unchecked_bytes += needed_bytes
        is_due = applied - self._space_checked_index >= SPACE_CHECK_INTERVAL_ENTRIES
        if is_due or self._unchecked_bytes >= SPACE_CHECK_INTERVAL_BYTES or not self._has_space or share < 1.0:
            self._space_checked_index = applied
            self._unchecked_bytes = 0
            size = self.state.size()
            limit = min(self.limits.quota_backend_bytes, size.limit * USABLE_SHARE_OF_MAP)
            self._has_space = size.used < limit
            return size.used < limit * share
        return self._has_space

    def refuse_for_space(self, call: Call) -> None:
        """Refuse what needs room, and see that the cluster knows."""
        self.on_no_space()
        errors.refuse(call, state_errors.NO_SPACE)

    def propose(
        self,
        call: Call,
        command: bytes,
        payload: bytes,
        before_reply: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Propose a command and answer `call` with its outcome, a good one once `before_reply` calls back.

        While auth is on it is proposed in the name of the client, and checked when it is applied.
        """
        if self.access.is_on:
            self.access.settle(call, lambda: self._propose_as_client(call, command + payload, before_reply, 1))
        else:
            self.propose_unchecked(call, command + payload, before_reply)

    def _propose_as_client(
        self, call: Call, data: bytes, before_reply: Callable[[Callable[[], None]], None] | None, attempts: int
    ) -> None:
        """Try again where users or roles changed on the way, unless the client's token is what is old."""
        identity = self.access.identify(call)
        if isinstance(identity, Failure):
            errors.refuse(call, identity)
            return

        def again() -> None:
            self._propose_as_client(call, data, before_reply, attempts + 1)

        may_retry = attempts < MAX_ATTEMPTS and not self.access.is_revision_in_token
        sealed = commands.AS_USER + encode_identity(identity) + data
        self.propose_unchecked(call, sealed, before_reply, again if may_retry else None)

    def propose_unchecked(
        self,
        call: Call,
        data: bytes,
        before_reply: Callable[[Callable[[], None]], None] | None = None,
        on_old_revision: Callable[[], None] | None = None,
    ) -> None:
        """Propose a whole command, and answer `call`; where it was refused as older than the users, `on_old_revision`."""

        def finish(result: Result) -> None:
            if isinstance(result, Failed):
                self.failed_proposals += 1
                call.fail(result.code, result.text)
                return
            outcome = result.value
            assert isinstance(outcome, Outcome)
            if outcome.failure is state_errors.AUTH_OLD_REVISION and on_old_revision is not None:
                on_old_revision()
            elif outcome.failure is not None:
                call.fail(outcome.failure.code, outcome.failure.text)
            elif before_reply is None:
                call.reply(self.header(outcome.revision) + outcome.body)
            else:
                before_reply(lambda: call.reply(self.header(outcome.revision) + outcome.body))

        self.member.propose(data, finish)

    def may_read(self, call: Call, check: Check) -> bool:
        """Return whether the state may be shown to the client of `call`; refuse the call when not."""
        return not self.state.is_guarded or self.access.allows(call, check)

    def read(self, call: Call, then: Callable[[], None]) -> None:
        """Run `then` once a linearizable read may look at the state, or fail `call`."""

        def finish(result: Result) -> None:
            if isinstance(result, Failed):
                self.failed_reads += 1
                self.slow_reads += result.text == errors.TIMED_OUT.text
                call.fail(result.code, result.text)
            else:
                then()

        self.member.read(finish)

    def answer(self, call: Call, revision: int, body: bytes, failure: Failure | None = None) -> None:
        """Answer `call` with an encoded response that lacks its header, or refuse it."""
        if failure is not None:
            errors.refuse(call, failure)
        else:
            call.reply(self.header(revision) + body)


MAX_ATTEMPTS = 8  # at one proposal, while users and roles change
SPACE_CHECK_INTERVAL_ENTRIES = 256
SPACE_CHECK_INTERVAL_BYTES = 4 << 20
USABLE_SHARE_OF_MAP = 0.75  # a delete, a compaction and a commit need pages too
