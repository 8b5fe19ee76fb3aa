"""Leases: grant one, attach a key, keep it alive for a while, let it end or revoke it. Who sees the key go is written down."""

import asyncio

from chaos.leasing import LeaseRecord, Renewal
from chaos.observed import Scope
from chaos.workloads.session import PAUSE_AFTER_ERROR_SECONDS, Bench, Session
from kvstore.client import EtcdError, LeaseNotFound

PREFIX = "chaos/lease/"
SCOPE = Scope("lease", PREFIX)
TTL_SECONDS = (1, 5)
RENEWALS = 6
CALL_SECONDS = 6.0


async def client(bench: Bench) -> None:
    """One lease after another, until `go_on` says no."""
    async with bench.session() as session:
        while bench.go_on():
            try:
                async with asyncio.timeout(CALL_SECONDS * (RENEWALS + 4)):
                    await _one(bench, session)
            except (EtcdError, TimeoutError):
                await asyncio.sleep(PAUSE_AFTER_ERROR_SECONDS)


async def _one(bench: Bench, session: Session) -> None:
    loop = asyncio.get_running_loop()
    sent = loop.time()
    granted = await session.store.lease_grant(bench.random.randint(*TTL_SECONDS))
    record = LeaseRecord(granted.ID, f"{PREFIX}{session.unique()}", [Renewal(sent, loop.time(), granted.TTL)])
    await session.store.put(record.key.encode(), b"held", lease=granted.ID)
    record.is_attached = True
    bench.history.leases.append(record)
    for _ in range(bench.random.randrange(RENEWALS)):
        await asyncio.sleep(bench.random.uniform(0.2, 0.9) * granted.TTL)
        sent = loop.time()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                ttl = await session.store.lease_keep_alive(granted.ID)
        except LeaseNotFound:
            record.renewals.append(Renewal(sent, loop.time(), 0))
            return
        record.renewals.append(Renewal(sent, loop.time(), ttl))
    if bench.random.random() < 0.3:
        record.revoke_sent = loop.time()
        await session.store.lease_revoke(granted.ID)
