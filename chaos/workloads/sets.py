"""A set that only grows: each element is a key; now and then all are read."""

from chaos.observed import Scope
from chaos.workloads.session import Bench
from kvstore.client import ops, prefix_end

PREFIX = "chaos/set/"
SCOPE = Scope("set", PREFIX)
READ_SHARE = 0.005  # a reading is as long as the set


async def client(bench: Bench) -> None:
    """Work until `go_on` says no; then read once more."""
    everything = ops.range_(PREFIX.encode(), prefix_end(PREFIX.encode()), keys_only=True)
    async with bench.session() as session:
        while bench.go_on():
            if bench.random.random() < READ_SHARE:
                await session.txn([], [everything])
            else:
                element = session.unique()
                await session.txn([], [ops.put(f"{PREFIX}{element}".encode(), element.encode())])
        await session.txn([], [everything])
