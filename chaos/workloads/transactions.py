"""Transactions on several keys: guards of any kind, puts, reads and deletes of ranges in one revision."""

from chaos.observed import Scope
from chaos.workloads.session import Bench, Session
from kvstore.client import ops, prefix_end
from kvstore.pb import rpc_pb2 as rpc

PREFIX = "chaos/transactions/"
SCOPE = Scope("transactions", PREFIX)
KEYS = 12
STEPS = 4


async def client(bench: Bench) -> None:
    """Work until `go_on` says no."""
    async with bench.session() as session:
        while bench.go_on():
            keys = bench.random.sample(range(KEYS), STEPS)
            guards = [_guard(bench, _key(keys[0]))] if bench.random.random() < 0.4 else []
            then = [_step(bench, session, _key(number)) for number in keys[: bench.random.randint(1, STEPS)]]
            await session.txn(guards, then, [ops.range_(PREFIX.encode(), prefix_end(PREFIX.encode()))])


def _key(number: int) -> bytes:
    return f"{PREFIX}{number:02d}".encode()


def _guard(bench: Bench, key: bytes) -> rpc.Compare:
    return bench.random.choice((
        ops.mod_revision(key) > 0, ops.version(key) < bench.random.randrange(100), ops.create_revision(key) != 0,
        ops.mod_revision(key) == 0,
    ))  # fmt: skip


def _step(bench: Bench, session: Session, key: bytes) -> rpc.RequestOp:
    draw = bench.random.random()
    if draw < 0.5:
        return ops.put(key, session.unique().encode(), prev_kv=draw < 0.1)
    if draw < 0.6:
        return ops.delete(key, prev_kv=True)
    return ops.range_(key)
