"""What the services share: the member, the state, limits, and the header of every answer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from kvstore.api import errors
from kvstore.member.ports import Done, Failed, MemberStatus, Result
from kvstore.mvcc import wire
from kvstore.mvcc.errors import Failure
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
    def propose(self, data: bytes, done: Done) -> None: ...
    def read(self, done: Done) -> None: ...
    def status(self) -> MemberStatus: ...
    def on_leadership(self, callback: Callable[[int, int], None]) -> None: ...
    def transfer_leadership(self, to: int, done: Done) -> None: ...
    def ask(self, to: int, subject: str, payload: bytes, done: Callable[[bytes | None], None]) -> None: ...
    def answer(self, subject: str, handler: Callable[[bytes, Answer], None]) -> None: ...


@dataclass(frozen=True, slots=True)
class ApiLimits:
    """Limits and times of the client API, named as etcd's flags."""

    max_request_bytes: int = 1_572_864
    max_txn_operations: int = 128
    quota_backend_bytes: int = 2 << 30  # of pages in use; writes are refused above it
    election_timeout_seconds: float = 1.0
    watch_progress_notify_interval_seconds: float = 600.0


class Node:
    """One member as its services see it."""

    def __init__(self, member: MemberPort, state: StateMachine, limits: ApiLimits) -> None:
        self.member = member
        self.state = state
        self.limits = limits
        self._identity = wire.number_field(b"\x08", member.cluster_id) + wire.number_field(b"\x10", member.member_id)
        self._header_revision = self._header_term = -1
        self._header = self._encoded_term = b""
        self._has_space = True
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

    def has_space(self) -> bool:
        """Tell whether the store is within its quota and its map, looked at anew every so many entries."""
        applied = self.member.applied_index
        if applied - self._space_checked_index >= SPACE_CHECK_INTERVAL_ENTRIES or not self._has_space:
            self._space_checked_index = applied
            size = self.state.size()
            self._has_space = size.used < min(self.limits.quota_backend_bytes, size.limit * USABLE_SHARE_OF_MAP)
        return self._has_space

    def propose(
        self,
        call: Call,
        command: bytes,
        payload: bytes,
        before_reply: Callable[[Callable[[], None]], None] | None = None,
    ) -> None:
        """Propose a command and answer `call` with its outcome, a good one once `before_reply` calls back."""

        def finish(result: Result) -> None:
            if isinstance(result, Failed):
                call.fail(result.code, result.text)
                return
            outcome = result.value
            assert isinstance(outcome, Outcome)
            if outcome.failure is not None:
                call.fail(outcome.failure.code, outcome.failure.text)
            elif before_reply is None:
                call.reply(self.header(outcome.revision) + outcome.body)
            else:
                before_reply(lambda: call.reply(self.header(outcome.revision) + outcome.body))

        self.member.propose(command + payload, finish)

    def read(self, call: Call, then: Callable[[], None]) -> None:
        """Run `then` once a linearizable read may look at the state, or fail `call`."""

        def finish(result: Result) -> None:
            if isinstance(result, Failed):
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


SPACE_CHECK_INTERVAL_ENTRIES = 256
USABLE_SHARE_OF_MAP = 0.75  # a delete, a compaction and a commit need pages too
