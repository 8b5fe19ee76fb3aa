"""Registers: puts, linearizable reads and compare-and-swaps on a few keys, every written value unique.

The keys change every so many operations: a search for an order without revisions is hard on long histories of one key.
"""

import asyncio

from chaos.history import Operation, Outcome
from chaos.observed import Scope
from chaos.workloads.session import OPERATION_TIMEOUT_SECONDS, PAUSE_AFTER_ERROR_SECONDS, Bench
from kvstore.client import Client, EtcdError, ops

KEYS = 8
OPERATIONS_ON_A_KEY = 25  # of one client; some clients together make a few hundred
PREFIX = "chaos/register/"
SCOPE = Scope("register", PREFIX)

Answer = tuple[str | None, int, int, bool]  # value, header revision, mod revision, whether the guard held


async def client(bench: Bench) -> None:
    """Work until `go_on` says no, on one endpoint at a time as an application does; append each operation when it ended."""
    loop = asyncio.get_running_loop()
    random, number = bench.random, bench.number
    seen: dict[str, int] = {}
    async with Client(bench.shuffled()) as store:
        count = 0
        while bench.go_on():
            count += 1
            key = f"{PREFIX}{count // (OPERATIONS_ON_A_KEY * KEYS)}.{random.randrange(KEYS)}"
            kind = random.choices(("put", "get", "cas"), (4, 4, 2))[0]
            value = None if kind == "get" else f"{number}.{count}"
            expected = seen.get(key, 0) if kind == "cas" else None
            called = loop.time()
            operation = await perform(store, number, kind, key, value, expected, called)
            if operation is None:  # a swap whose guard did not hold: nothing was written and nothing was learned
                seen.pop(key, None)
                current = await perform(store, number, "get", key, None, None, loop.time())
                operation = current
            assert operation is not None
            bench.history.operations.append(operation)
            if operation.outcome is Outcome.OK:
                seen[key] = operation.mod_revision
            else:
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)


async def perform(
    store: Client, number: int, kind: str, key: str, value: str | None, expected: int | None, called: float
) -> Operation | None:
    """Return the operation as its client saw it; None for a swap that was refused by its guard."""
    loop = asyncio.get_running_loop()
    outcome, error = Outcome.OK, ""
    answer: Answer = (value, 0, 0, True)
    try:
        async with asyncio.timeout(OPERATION_TIMEOUT_SECONDS):
            answer = await ask(store, kind, key, value, expected)
    except (EtcdError, TimeoutError) as failure:
        # A read that failed told nothing; a write may have happened unless it certainly never left.
        outcome, error = (Outcome.FAILED if kind == "get" else Outcome.UNKNOWN), f"{type(failure).__name__}: {failure}"
    read, revision, mod_revision, held = answer
    if not held:
        return None
    return Operation(
        client=number,
        kind=kind,
        key=key,
        value=read,
        called=called,
        returned=loop.time(),
        outcome=outcome,
        revision=revision,
        mod_revision=mod_revision,
        expected=expected,
        error=error,
    )


async def ask(store: Client, kind: str, key: str, value: str | None, expected: int | None) -> Answer:
    """Perform it; see `Answer`."""
    if kind == "get":
        found = await store.range(key.encode())
        if not found.kvs:
            return None, found.header.revision, 0, True
        return found.kvs[0].value.decode(), found.header.revision, found.kvs[0].mod_revision, True
    assert value is not None
    if kind == "put":
        done = await store.put(key.encode(), value.encode())
        return value, done.header.revision, done.header.revision, True
    guard = ops.mod_revision(key.encode()) == (expected or 0)
    swapped = await store.txn([guard], [ops.put(key.encode(), value.encode())])
    return value, swapped.header.revision, swapped.header.revision, swapped.succeeded
