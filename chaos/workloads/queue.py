"""A queue: some put items, some take the oldest; at the end all that is left is taken."""

from chaos.observed import Scope
from chaos.workloads.session import Bench, Session
from kvstore.client import ops, prefix_end

PREFIX = "chaos/queue/"
SCOPE = Scope("queue", PREFIX)


async def client(bench: Bench) -> None:
    """Work until `go_on` says no: even numbers put rather, odd ones take rather."""
    share = 0.6 if bench.number % 2 == 0 else 0.4
    async with bench.session() as session:
        while bench.go_on():
            if bench.random.random() < share:
                item = session.unique()
                key = f"{PREFIX}{item}".encode()
                await session.txn([ops.mod_revision(key) == 0], [ops.put(key, item.encode())])
            else:
                await _take(session)


async def _take(session: Session) -> None:
    oldest = ops.range_(
        PREFIX.encode(), prefix_end(PREFIX.encode()), limit=1, sort_target=1 + 1, sort_order=1
    )  # by creation
    found = await session.txn([], [oldest])
    if found is None or not found.responses[0].response_range.kvs:
        return
    first = found.responses[0].response_range.kvs[0]
    await session.txn([ops.create_revision(first.key) == first.create_revision], [ops.delete(first.key)])
