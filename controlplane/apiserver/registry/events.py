"""Events: they live for an hour by leases of the store, each shared by the events of a minute."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from controlplane.apiserver.registry.strategy import Strategy

if TYPE_CHECKING:
    from controlplane.apiserver.services import Services

SHARED_SECONDS: Final = 60
SHARED_EVENTS: Final = 1000


class LeasePool:
    """The lease that new events share: renewed never, replaced after a minute or a thousand events."""

    def __init__(self) -> None:
        self._lease = 0
        self._until = 0.0
        self._left = 0
        self._lock = asyncio.Lock()

    async def lease(self, services: Services) -> int:
        """A lease with at least the events' time to live."""
        async with self._lock:
            now = asyncio.get_running_loop().time()
            if self._lease == 0 or now >= self._until or self._left <= 0:
                ttl = services.config.event_ttl_seconds
                self._lease = await services.backend.grant_lease(ttl + SHARED_SECONDS)
                self._until, self._left = now + SHARED_SECONDS, SHARED_EVENTS
            self._left -= 1
            return self._lease


async def _lease(services: Services) -> int:
    return await services.event_leases.lease(services)


STRATEGY: Final = Strategy(lease=_lease)
