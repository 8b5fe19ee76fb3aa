"""Compaction of the store's history, by one API server at a time: the compare-and-swap that kube-apiserver uses.

The key `compact_rev_key` holds the revision of the last round; who wins the swap of its version compacts.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from controlplane.apiserver.services import Services
from controlplane.apiserver.storage.backend import Expect, Put, RevisionCompacted
from controlplane.objects.status import ApiError

KEY: Final = b"compact_rev_key"

logger = logging.getLogger(__name__)


async def run(services: Services) -> None:
    """Each interval: compact to where the store was at the last one, if no other server did so meanwhile."""
    interval = services.config.etcd_compaction_interval_seconds
    if interval <= 0:
        await asyncio.Event().wait()
    seen = previous = 0
    while True:
        await asyncio.sleep(interval)
        try:
            seen, previous = await _round(services, seen, previous)
        except (ApiError, RevisionCompacted) as error:
            logger.warning("compaction waits for the next round: %s", error)


async def _round(services: Services, seen: int, previous: int) -> tuple[int, int]:
    """One attempt; answers the revision of the key and of the store as they are afterwards."""
    row, revision = await services.backend.get(KEY)
    if (row.revision if row else 0) != seen:
        return (row.revision if row else 0), revision
    outcome = await services.backend.commit([Expect(KEY, seen)], [Put(KEY, str(revision).encode())])
    if not outcome.succeeded:
        current = outcome.rows[0] if outcome.rows else None
        return (current.revision if current else 0), revision
    if previous:
        await services.backend.compact(previous)
    return outcome.revision, revision
