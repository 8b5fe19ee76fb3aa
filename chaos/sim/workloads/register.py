"""Registers: puts, linearizable reads, compare-and-swaps and deletes of a few keys; every written value is unique."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.history import Operation, Outcome
from chaos.sim.calls import REFUSED, Caller
from kvstore.pb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    DeleteRangeResponse,
    PutRequest,
    PutResponse,
    RangeRequest,
    RangeResponse,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from kvstore.rpc import Code

if TYPE_CHECKING:
    from chaos.sim.host import Host
    from chaos.sim.store import StoreWorld

__all__ = ["RegisterClient"]

KINDS, WEIGHTS = ("put", "get", "cas", "delete"), (8, 8, 4, 1)
TIMEOUT_SECONDS = 8.0
AFTER_ERROR_SECONDS = 0.1


class RegisterClient:
    """One client: asks one member until it fails, then another. `stop()` after the operation under way."""

    def __init__(self, world: StoreWorld, number: int) -> None:
        self._world, self._number = world, number
        self._random = world.random_for(f"client-{number}")
        self._caller = Caller(world, world.client_names[number])
        self._host = self._random.choice(world.hosts)
        self._seen: dict[str, int] = {}  # key -> the mod revision that this client was told last
        self._count = 0
        self._is_stopped = False
        self.is_idle = True

    def start(self) -> None:
        """Begin, after a moment."""
        self._pause(self._world.swarm.pause_seconds)

    def stop(self) -> None:
        """Begin no further operation."""
        self._is_stopped = True

    def _pause(self, mean_seconds: float) -> None:
        self._world.heap.after(self._random.expovariate(1 / mean_seconds), self._next)

    def _next(self) -> None:
        if self._is_stopped:
            return
        self._count += 1
        kind = self._random.choices(KINDS, WEIGHTS)[0]
        key = f"register/{self._random.randrange(self._world.swarm.keys)}"
        self.ask(self._host, kind, key)

    def ask(self, host: Host, kind: str, key: str) -> None:
        """Perform one operation; the next follows by itself."""
        value = None if kind in ("get", "delete") else f"{self._number}.{self._count}"
        expected = self._seen.get(key, 0) if kind == "cas" else None
        called = self._world.heap.now
        path, request = _request(kind, key, value, expected)
        self.is_idle = False

        def ended(code: int, text: str, answer: bytes) -> None:
            self.is_idle = True
            self._record(kind, key, value, expected, called, code, text, answer)

        self._caller.call(host, path, request, TIMEOUT_SECONDS, ended)

    def _record(
        self, kind: str, key: str, value: str | None, expected: int | None, called: float, code: int, text: str,
        answer: bytes,
    ) -> None:
        world = self._world
        outcome, revision, mod_revision, held = _outcome(kind, code, text), 0, 0, True
        if code == Code.OK:
            value, revision, mod_revision, held = _read(kind, answer, value)
        world.note(world.client_names[self._number], f"{kind} {outcome}", f"{key} {value} {expected} {revision}")
        if held:
            world.history.append(Operation(
                client=self._number, kind=kind, key=key, value=value, called=called, returned=world.heap.now,
                outcome=outcome, revision=revision, mod_revision=mod_revision, expected=expected, error=text,
            ))
            self._seen[key] = mod_revision if code == Code.OK else 0
        else:
            self._seen.pop(key, None)
        if code == Code.OK:
            self._pause(world.swarm.pause_seconds)
        else:
            self._host = self._random.choice(world.hosts)
            self._pause(AFTER_ERROR_SECONDS)


def _outcome(kind: str, code: int, text: str) -> Outcome:
    """A read that failed told nothing; a write may have happened unless it never left."""
    if code == Code.OK:
        return Outcome.OK
    return Outcome.FAILED if kind == "get" or text == REFUSED else Outcome.UNKNOWN


def _request(kind: str, key: str, value: str | None, expected: int | None) -> tuple[str, bytes]:
    name = key.encode()
    if kind == "get":
        return "/etcdserverpb.KV/Range", RangeRequest(key=name).SerializeToString()
    if kind == "delete":
        return "/etcdserverpb.KV/DeleteRange", DeleteRangeRequest(key=name).SerializeToString()
    put = PutRequest(key=name, value=(value or "").encode())
    if kind == "put":
        return "/etcdserverpb.KV/Put", put.SerializeToString()
    guard = Compare(key=name, target=Compare.MOD, result=Compare.EQUAL, mod_revision=expected or 0)
    return "/etcdserverpb.KV/Txn", TxnRequest(compare=[guard], success=[RequestOp(request_put=put)]).SerializeToString()


def _read(kind: str, answer: bytes, value: str | None) -> tuple[str | None, int, int, bool]:
    """Value, header revision, mod revision, whether the guard held."""
    if kind == "get":
        found = RangeResponse.FromString(answer)
        if not found.kvs:
            return None, found.header.revision, 0, True
        return found.kvs[0].value.decode(), found.header.revision, found.kvs[0].mod_revision, True
    if kind == "delete":
        return None, DeleteRangeResponse.FromString(answer).header.revision, 0, True
    if kind == "put":
        revision = PutResponse.FromString(answer).header.revision
        return value, revision, revision, True
    swapped = TxnResponse.FromString(answer)
    return value, swapped.header.revision, swapped.header.revision, swapped.succeeded
