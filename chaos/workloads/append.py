"""Lists that only grow: read one, put it back with one more element if nobody did so in between."""

from chaos.observed import Scope
from chaos.workloads.session import Bench
from kvstore.client import ops

PREFIX = "chaos/append/"
SCOPE = Scope("append", PREFIX)
LENGTH = 200  # then the next list begins: readings are as long as their list


async def client(bench: Bench) -> None:
    """Work until `go_on` says no."""
    place = 0
    async with bench.session() as session:
        while bench.go_on():
            key = f"{PREFIX}{place:06d}.{bench.random.randrange(2)}".encode()
            read = await session.txn([], [ops.range_(key)])
            if read is None:
                continue
            found = read.responses[0].response_range.kvs
            elements = found[0].value.decode().split(",") if found else []
            if len(elements) >= LENGTH:
                place += 1
                continue
            revision = found[0].mod_revision if found else 0
            longer = ",".join([*elements, session.unique()]).encode()
            await session.txn([ops.mod_revision(key) == revision], [ops.put(key, longer)], [ops.range_(key)])
