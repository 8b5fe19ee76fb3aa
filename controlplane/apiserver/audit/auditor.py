"""The stages of a request, from the first header to the last byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from controlplane.apiserver.audit import events
from controlplane.apiserver.audit.policy import Policy, Verdict
from controlplane.apiserver.storage import codec

if TYPE_CHECKING:
    from controlplane.apiserver.authn.user import User
    from controlplane.apiserver.context import Context, Result

Object = dict[str, Any]

DECISION: Final = "authorization.k8s.io/decision"
REASON: Final = "authorization.k8s.io/reason"


class Record:
    """What is remembered of a request that is written."""

    __slots__ = ("body", "broke", "received", "user", "verdict")

    def __init__(self, user: User, verdict: Verdict, received: str) -> None:
        self.user = user  # who authenticated, whoever they act as
        self.verdict = verdict
        self.received = received
        self.body = b""  # filled when the level wants it
        self.broke = False  # the server failed

    @property
    def wants_body(self) -> bool:
        return self.verdict.level >= events.REQUEST


class Sink(Protocol):
    """Where events go. `write` takes one as a line of JSON and never waits; `run` brings them there until it is cancelled, and
    then what is left."""

    def write(self, line: bytes) -> None: ...
    async def run(self) -> None: ...


class Auditor:
    """Writes the events of one server."""

    def __init__(self, policy: Policy, sinks: tuple[Sink, ...]) -> None:
        self._policy = policy
        self.sinks = sinks

    def begin(self, context: Context) -> None:
        """A request whose user is known: from now on `context.audit` is set if the policy wants it."""
        verdict = self._policy.of(context.user, context.info)
        if not verdict.level:
            return
        context.audit = record = Record(context.user, verdict, context.services.environment.micro_timestamp())
        self._write(context, record, "RequestReceived", None)

    def decided(self, context: Context, *, allowed: bool, reason: str = "") -> None:
        """Authorization's decision, for the events that follow."""
        context.annotations[DECISION] = "allow" if allowed else "forbid"
        context.annotations[REASON] = reason

    def started(self, context: Context, result: Result) -> None:
        """A stream begins."""
        if context.audit is not None:
            self._write(context, context.audit, "ResponseStarted", result)

    def completed(self, context: Context, result: Result) -> None:
        """All of the answer is made."""
        record = context.audit
        if record is not None:
            self._write(context, record, "Panic" if record.broke else "ResponseComplete", result)

    def _write(self, context: Context, record: Record, stage: str, result: Result | None) -> None:
        if stage in record.verdict.omitted_stages:
            return
        event = events.head(context, record)
        event["stage"] = stage
        if result is not None:
            event["responseStatus"] = events.answered(result)
            event |= events.bodies(context, record, result)
        event["requestReceivedTimestamp"] = record.received
        event["stageTimestamp"] = context.services.environment.micro_timestamp()
        if context.annotations:
            event["annotations"] = dict(context.annotations)
        line = codec.encode_json(event) + b"\n"
        for sink in self.sinks:
            sink.write(line)
