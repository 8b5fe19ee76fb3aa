"""An elected component's shell: compete, work while leading, leave when told to."""

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Protocol

from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.election import ElectionConfig, LeaderElector

__all__ = ["Elected", "take_part"]


class Elected(Protocol):
    """The fields that the configuration of every elected component has (see `machinery.command.election_fields`)."""

    @property
    def identity(self) -> str: ...
    @property
    def leader_elect(self) -> bool: ...
    @property
    def leader_elect_lease_duration_seconds(self) -> float: ...
    @property
    def leader_elect_renew_deadline_seconds(self) -> float: ...
    @property
    def leader_elect_retry_period_seconds(self) -> float: ...
    @property
    def leader_elect_resource_name(self) -> str: ...
    @property
    def leader_elect_resource_namespace(self) -> str: ...


async def take_part(
    config: Elected,
    client: ApiClient,
    lead: Callable[[int], Awaitable[None]],
    *,
    stop: asyncio.Event,
    ready: Callable[[], None],
    clock: Clock,
    random: Random,
) -> None:
    """Run `lead(fencing token)` while leading (always, without election) until `stop` is set; raise what it raises.

    `ready` is called when this candidate competes.
    """
    work: asyncio.Future[None]
    if config.leader_elect:
        election = ElectionConfig(
            name=config.leader_elect_resource_name,
            namespace=config.leader_elect_resource_namespace,
            identity=config.identity or f"{config.leader_elect_resource_name}_{random.getrandbits(64):016x}",
            lease_duration_seconds=config.leader_elect_lease_duration_seconds,
            renew_deadline_seconds=config.leader_elect_renew_deadline_seconds,
            retry_period_seconds=config.leader_elect_retry_period_seconds,
        )
        work = asyncio.ensure_future(LeaderElector(client, election, clock=clock, random=random).run(lead))
    else:
        work = asyncio.ensure_future(lead(0))
    stopping = asyncio.ensure_future(stop.wait())
    try:
        ready()
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        if work.done() and not work.cancelled():
            work.result()  # it ends by itself only when it fails
    finally:
        work.cancel()
        stopping.cancel()
        await asyncio.gather(work, stopping, return_exceptions=True)
