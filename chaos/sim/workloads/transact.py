"""Transactions on several keys: guards, puts, ranges, deletes in one revision; and a set that only grows.

    txn/N     guards on what this client saw last, puts of unique values, ranges over all of them
    set/...   one key for each element
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from chaos.observed import Scope
from chaos.outcome import Outcome
from chaos.sim.calls import REFUSED, Caller
from chaos.transactions import from_messages
from kvstore.pb.rpc_pb2 import (
    Compare,
    DeleteRangeRequest,
    PutRequest,
    RangeRequest,
    RequestOp,
    TxnRequest,
    TxnResponse,
)
from kvstore.rpc import Code

if TYPE_CHECKING:
    from chaos.sim.store import StoreWorld

__all__ = ["SCOPES", "Transactor"]

TXN = "/etcdserverpb.KV/Txn"
TIMEOUT_SECONDS = 8.0
KEYS = 4
SCOPES = (Scope("transactions", "txn/"), Scope("set", "set/"))
FIRST_CLIENT = 1000  # so that no register client has the same number


class Transactor:
    """One client: one transaction after another, on one member until it fails."""

    def __init__(self, world: StoreWorld, number: int) -> None:
        self._world, self._number = world, number
        self._name = world.transactor_names[number]
        self._random = world.random_for(self._name)
        self._caller = Caller(world, self._name)
        self._host = self._random.choice(world.hosts)
        self._seen: dict[bytes, int] = {}
        self._count = 0
        self._is_stopped = False
        self.is_idle = True

    def start(self) -> None:
        """Begin, after a moment."""
        self._pause()

    def stop(self) -> None:
        """Begin no further one."""
        self._is_stopped = True

    def _pause(self) -> None:
        self._world.heap.after(self._random.expovariate(1 / self._world.swarm.pause_seconds), self._next)

    def _next(self) -> None:
        if not self._is_stopped:
            self._count += 1
            self._ask(self._of_set() if self._random.random() < 0.3 else self._of_keys())

    def _put(self, key: bytes) -> RequestOp:
        value = b"%d.%d.%d" % (FIRST_CLIENT + self._number, self._count, self._random.getrandbits(30))
        return RequestOp(request_put=PutRequest(key=key, value=value, prev_kv=self._random.random() < 0.3))

    def _of_keys(self) -> TxnRequest:
        keys = [b"txn/%d" % number for number in self._random.sample(range(KEYS), self._random.randrange(1, KEYS))]
        guards = [
            Compare(key=key, target=Compare.MOD, result=Compare.EQUAL, mod_revision=self._seen.get(key, 0))
            for key in keys if self._random.random() < 0.4
        ]
        everything = RequestOp(request_range=RangeRequest(key=b"txn/", range_end=b"txn0"))
        steps = [everything] if self._random.random() < 0.5 else []
        steps += [
            RequestOp(request_delete_range=DeleteRangeRequest(key=key)) if self._random.random() < 0.1 else self._put(key)
            for key in keys if self._random.random() < 0.7
        ]
        return TxnRequest(compare=guards, success=steps or [everything], failure=[everything])

    def _of_set(self) -> TxnRequest:
        if self._random.random() < 0.2:
            return TxnRequest(success=[RequestOp(request_range=RangeRequest(key=b"set/", range_end=b"set0"))])
        return TxnRequest(success=[self._put(b"set/%d.%d" % (self._number, self._count))])

    def _ask(self, request: TxnRequest) -> None:
        world, called, host = self._world, self._world.heap.now, self._host

        self.is_idle = False

        def ended(code: int, text: str, answer: bytes) -> None:
            self.is_idle = True
            response = TxnResponse.FromString(answer) if code == Code.OK else None
            outcome = Outcome.OK if response is not None else Outcome.FAILED if text == REFUSED else Outcome.UNKNOWN
            world.note(self._name, f"transaction {outcome}", response.header.revision if response is not None else text)
            world.transactions.append(from_messages(
                request, response, client=FIRST_CLIENT + self._number, called=called, returned=world.heap.now,
                outcome=outcome, member=host.name, error=text,
            ))
            if response is None:
                self._host = self._random.choice(world.hosts)
            else:
                self._learn(response)
            self._pause()

        self._caller.call(host, TXN, request.SerializeToString(), TIMEOUT_SECONDS, ended)

    def _learn(self, response: TxnResponse) -> None:
        for each in response.responses:
            for pair in each.response_range.kvs:
                self._seen[pair.key] = pair.mod_revision
