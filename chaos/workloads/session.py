"""A client that writes down every request and what it was told."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from random import Random
from types import TracebackType
from typing import Self, TypeVar

from chaos.history import History, Outcome
from chaos.transactions import from_messages
from kvstore.client import Client, EtcdError, ops
from kvstore.pb import rpc_pb2 as rpc

__all__ = ["OPERATION_TIMEOUT_SECONDS", "PAUSE_AFTER_ERROR_SECONDS", "Bench", "Recorder", "Session"]

OPERATION_TIMEOUT_SECONDS = 8.0
PAUSE_AFTER_ERROR_SECONDS = 0.05

AnswerT = TypeVar("AnswerT", rpc.TxnResponse, rpc.PutResponse, rpc.DeleteRangeResponse)


class Recorder(Client):
    """A client whose transactions, puts and deletions are written down, those of recipes that use it among them."""

    def __init__(
        self, endpoints: Sequence[str], number: int, history: History, *, chance: Random | None = None
    ) -> None:
        super().__init__(endpoints, chance=chance)
        self._number, self._history = number, history

    async def txn(
        self,
        compares: Iterable[rpc.Compare],
        success: Iterable[rpc.RequestOp] = (),
        failure: Iterable[rpc.RequestOp] = (),
        *,
        timeout_seconds: float | None = None,
    ) -> rpc.TxnResponse:
        """Perform and write down."""
        request = rpc.TxnRequest(compare=compares, success=success, failure=failure)
        work = super().txn(request.compare, request.success, request.failure, timeout_seconds=timeout_seconds)
        return await self._noted(request, work, lambda answer: answer)

    async def put(
        self,
        key: bytes,
        value: bytes,
        *,
        lease: int = 0,
        prev_kv: bool = False,
        ignore_value: bool = False,
        ignore_lease: bool = False,
        timeout_seconds: float | None = None,
    ) -> rpc.PutResponse:
        """Perform and write down."""
        request = rpc.TxnRequest(success=[ops.put(key, value, lease=lease, prev_kv=prev_kv)])
        work = super().put(key, value, lease=lease, prev_kv=prev_kv, timeout_seconds=timeout_seconds)
        return await self._noted(request, work, lambda answer: rpc.ResponseOp(response_put=answer))

    async def _noted(
        self,
        request: rpc.TxnRequest,
        work: Awaitable[AnswerT],
        as_part: Callable[[AnswerT], rpc.TxnResponse | rpc.ResponseOp],
    ) -> AnswerT:
        loop = asyncio.get_running_loop()
        called = loop.time()
        outcome, error = Outcome.UNKNOWN, "given up"
        response: rpc.TxnResponse | None = None
        try:
            answer = await work
            part = as_part(answer)
            response = part if isinstance(part, rpc.TxnResponse) else rpc.TxnResponse(
                header=answer.header, succeeded=True, responses=[part]
            )  # fmt: skip
            outcome, error = Outcome.OK, ""
            return answer
        except EtcdError as failure:
            outcome = Outcome.UNKNOWN if failure.is_unknown else Outcome.FAILED
            error = f"{type(failure).__name__}: {failure}"
            raise
        finally:
            if outcome is Outcome.UNKNOWN and not ops.writes(request):
                outcome = Outcome.FAILED  # it told nothing
            self._history.transactions.append(
                from_messages(
                    request, response, client=self._number, called=called, returned=loop.time(), outcome=outcome,
                    error=error,
                )
            )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Bench:
    """What a client works with. `by_member`: each member's endpoint."""

    endpoints: Sequence[str]
    by_member: dict[str, str]
    number: int
    random: Random
    go_on: Callable[[], bool]
    history: History

    def session(self) -> "Session":
        """A client of one endpoint at a time, as an application has it."""
        return Session(self)

    def shuffled(self) -> list[str]:
        """The endpoints in an order of one's own."""
        return self.random.sample(list(self.endpoints), len(self.endpoints))


class Session:
    """`async with bench.session() as session`; whatever is written through it and its `store` is written down."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self._count = 0
        chance = Random(bench.random.random())
        self.store = Recorder(bench.shuffled(), bench.number, bench.history, chance=chance)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.store.close()

    def unique(self) -> str:
        """A value that nobody else writes."""
        self._count += 1
        return f"{self._bench.number}.{self._count}"

    async def txn(
        self, guards: Sequence[rpc.Compare], then: Sequence[rpc.RequestOp], otherwise: Sequence[rpc.RequestOp] = ()
    ) -> rpc.TxnResponse | None:
        """Perform it; None: it failed, or nobody knows. Then a moment has passed."""
        try:
            async with asyncio.timeout(OPERATION_TIMEOUT_SECONDS):
                return await self.store.txn(guards, then, otherwise)
        except (EtcdError, TimeoutError):
            await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)
            return None
