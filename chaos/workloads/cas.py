"""Compare-and-set: read a key, and put a new value if nobody changed it, by revision, version or value."""

from chaos.observed import Scope
from chaos.workloads.session import Bench
from kvstore.client import ops

PREFIX = "chaos/cas/"
SCOPE = Scope("transactions", PREFIX)
KEYS = 4


async def client(bench: Bench) -> None:
    """Work until `go_on` says no."""
    async with bench.session() as session:
        while bench.go_on():
            key = f"{PREFIX}{bench.random.randrange(KEYS)}".encode()
            read = await session.txn([], [ops.range_(key)])
            if read is None:
                continue
            found = read.responses[0].response_range.kvs
            guards = [ops.mod_revision(key) == 0]
            if found:
                guards = [bench.random.choice((
                    ops.mod_revision(key) == found[0].mod_revision, ops.version(key) == found[0].version,
                    ops.value(key) == found[0].value,
                ))]  # fmt: skip
            then = ops.delete(key) if found and bench.random.random() < 0.1 else ops.put(key, session.unique().encode())
            await session.txn(guards, [then], [ops.range_(key)])
