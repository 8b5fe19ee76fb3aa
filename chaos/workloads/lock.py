"""Locks and elections with fencing: what a holder writes is guarded by its own key, so nobody writes once another holds it.

Short leases, and holders that dawdle past their end: believing to hold a lock is not enough, and the guard shows it.
"""

import asyncio
from collections.abc import Awaitable, Callable

from chaos.observed import Hold, Scope
from chaos.workloads.session import PAUSE_AFTER_ERROR_SECONDS, Bench, Session
from kvstore.client import Client, Election, EtcdError, Lease, Lock, ops

PREFIX = "chaos/lock/"
SCOPE = Scope("lock", PREFIX)
ELECTION_PREFIX = "chaos/election/"
ELECTION_SCOPE = Scope("election", ELECTION_PREFIX)
LOCKS = 2
TTL_SECONDS = (1, 2, 5)
WAIT_SECONDS = 20.0
ATTEMPT_SECONDS = 8.0

Recipe = Lock | Election
Wait = Callable[[Recipe], Awaitable[int]]


async def client(bench: Bench) -> None:
    """Take a lock, write, release; again, until `go_on` says no."""
    await _compete(
        bench, PREFIX, Lock, lambda recipe: recipe.acquire() if isinstance(recipe, Lock) else recipe.campaign(b"")
    )


async def candidate(bench: Bench) -> None:
    """Campaign, write as the leader, resign; again, until `go_on` says no."""
    value = f"candidate-{bench.number}".encode()
    await _compete(
        bench, ELECTION_PREFIX, Election,
        lambda recipe: recipe.campaign(value) if isinstance(recipe, Election) else recipe.acquire(),
    )  # fmt: skip


async def _compete(bench: Bench, prefix: str, make: Callable[[Client, bytes, Lease], Recipe], wait: Wait) -> None:
    async with bench.session() as session:
        while bench.go_on():
            name = f"{prefix}{bench.random.randrange(LOCKS)}"
            try:
                async with asyncio.timeout(ATTEMPT_SECONDS):
                    lease = await session.store.lease(bench.random.choice(TTL_SECONDS))
            except (EtcdError, TimeoutError):
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)
                continue
            try:
                async with asyncio.timeout(WAIT_SECONDS):
                    await _once(bench, session, name, make(session.store, name.encode(), lease), lease, wait)
            except (EtcdError, TimeoutError):
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)
            finally:
                await _leave(lease)


async def _leave(lease: Lease) -> None:
    try:
        async with asyncio.timeout(ATTEMPT_SECONDS):
            await lease.revoke()
    except (EtcdError, TimeoutError):
        await lease.stop()  # it ends by itself


async def _once(bench: Bench, session: Session, name: str, recipe: Recipe, lease: Lease, wait: Wait) -> None:
    loop = asyncio.get_running_loop()
    asked = loop.time()
    token = await wait(recipe)
    acquired, key = loop.time(), recipe.key
    if bench.random.random() < 0.1:
        await lease.stop()  # a holder that forgets to keep it alive, and does not notice
        await asyncio.sleep(bench.random.uniform(0, 3))
    for _ in range(bench.random.randint(1, 4)):
        guarded = ops.put(f"{name}-guarded".encode(), session.unique().encode())
        await session.txn([ops.create_revision(key) == token], [guarded])
    if isinstance(recipe, Lock):
        await recipe.release()
    else:
        await recipe.resign()
    bench.history.holds.append(
        Hold(bench.number, f"{name}/", key.decode(), token, asked, acquired, loop.time(), lease=lease.id)
    )
