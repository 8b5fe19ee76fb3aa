"""Which member a call goes to: one current endpoint, the others in order of health when it fails.

Calls stay with the current endpoint as long as it answers: one connection carries everything, and its frames share writes.
An endpoint that failed rests for a while that doubles with each failure in a row; when all rest, the one whose rest ends first
is next.
"""

from __future__ import annotations

import asyncio
import random
import ssl
from collections.abc import Sequence
from typing import Final

from kvstore.rpc import Channel

FIRST_REST_SECONDS: Final = 0.05
LONGEST_REST_SECONDS: Final = 2.0
CONNECT_TIMEOUT_SECONDS: Final = 3.0


class Endpoint:
    """One member's address, its channel, and how it fared."""

    __slots__ = ("_channel", "_ssl_context", "failures", "rests_until", "target")

    def __init__(self, target: str, ssl_context: ssl.SSLContext | None) -> None:
        self.target = target
        self.failures = 0
        self.rests_until = 0.0
        self._ssl_context = None if target.startswith("http://") else ssl_context
        self._channel: Channel | None = None

    @property
    def channel(self) -> Channel:
        """Made when first used, so that a client can be built outside of a loop."""
        if self._channel is None:
            self._channel = Channel(
                self.target, self._ssl_context, connect_timeout_seconds=CONNECT_TIMEOUT_SECONDS
            )
        return self._channel

    async def close(self) -> None:
        """Close the channel."""
        if self._channel is not None:
            await self._channel.close()


class Endpoints:
    """The members that a client knows."""

    def __init__(self, targets: Sequence[str], ssl_context: ssl.SSLContext | None, chance: random.Random) -> None:
        if not targets:
            raise ValueError("at least one endpoint is needed")
        self._all = [Endpoint(target, ssl_context) for target in targets]
        self._chance = chance
        self.current = self._all[0]

    @property
    def targets(self) -> list[str]:
        """The addresses, in the order given."""
        return [endpoint.target for endpoint in self._all]

    def __len__(self) -> int:
        return len(self._all)

    def named(self, target: str) -> Endpoint:
        """The endpoint of that address. Raises KeyError."""
        for endpoint in self._all:
            if endpoint.target == target:
                return endpoint
        raise KeyError(target)

    def on_success(self, endpoint: Endpoint) -> None:
        """It answered."""
        if endpoint.failures:
            endpoint.failures = 0
            endpoint.rests_until = 0.0

    def on_failure(self, endpoint: Endpoint) -> float:
        """It could not serve: move on. Returns the seconds after which the next try is due (0: another one is fresh)."""
        now = asyncio.get_running_loop().time()
        if now >= endpoint.rests_until:  # else: one lost connection, told by each of the calls that were on it
            endpoint.failures += 1
            rest = min(LONGEST_REST_SECONDS, FIRST_REST_SECONDS * 2.0 ** min(endpoint.failures - 1, 10))
            endpoint.rests_until = now + rest * (0.75 + 0.5 * self._chance.random())
        if endpoint is self.current:
            start = self._all.index(endpoint) + 1
            order = self._all[start:] + self._all[:start]
            self.current = min(order, key=lambda other: max(0.0, other.rests_until - now))
        return max(0.0, self.current.rests_until - now)

    async def close(self) -> None:
        """Close all channels."""
        for endpoint in self._all:
            await endpoint.close()
