"""A bank: money goes from one account to another in a transaction that is guarded by what was read."""

from chaos.checkers.bank import balance
from chaos.observed import Scope
from chaos.workloads.session import Bench
from kvstore.client import ops, prefix_end

PREFIX = "chaos/bank/"
ACCOUNTS = 6
BALANCE = 100
SCOPE = Scope("bank", PREFIX, total=ACCOUNTS * BALANCE)


async def client(bench: Bench) -> None:
    """Work until `go_on` says no. Whoever comes first opens all accounts at once."""
    everything = ops.range_(PREFIX.encode(), prefix_end(PREFIX.encode()))
    async with bench.session() as session:
        first = f"{PREFIX}0".encode()
        while bench.go_on():
            opened = await session.txn(
                [ops.mod_revision(first) == 0],
                [ops.put(f"{PREFIX}{n}".encode(), f"{BALANCE}#{session.unique()}".encode()) for n in range(ACCOUNTS)],
            )
            if opened is not None:
                break
        while bench.go_on():
            read = await session.txn([], [everything])
            if read is None or len(read.responses[0].response_range.kvs) < ACCOUNTS or bench.random.random() < 0.2:
                continue
            giver, taker = bench.random.sample(list(read.responses[0].response_range.kvs), 2)
            has, gets = balance(giver.value.decode()), balance(taker.value.decode())
            amount = bench.random.randint(0, has)
            await session.txn(
                [ops.mod_revision(pair.key) == pair.mod_revision for pair in (giver, taker)],
                [ops.put(giver.key, f"{has - amount}#{session.unique()}".encode()),
                 ops.put(taker.key, f"{gets + amount}#{session.unique()}".encode())],
            )  # fmt: skip
