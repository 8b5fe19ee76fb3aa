"""The scheduler as a component: client, election, and while leading two informers and the loop."""

import asyncio
import logging
from collections.abc import Callable
from random import Random

from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.election import ElectionConfig, LeaderElector
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import InformerFactory
from controlplane.objects.kinds import NODES, PODS
from controlplane.scheduler.config import SchedulerConfig
from controlplane.scheduler.podinfo import DEFAULT_SCHEDULER
from controlplane.scheduler.reports import ConditionReporter
from controlplane.scheduler.scheduler import Scheduler

log = logging.getLogger("controlplane.scheduler")

# Finished pods hold nothing; the server tells of a pod that finishes as of one that is deleted.
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


async def serve(config: SchedulerConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Take part until `stop` is set."""
    client = ApiClient(ClientConfig.from_kubeconfig(config.kubeconfig, user_agent="kube-scheduler"))
    random, clock = Random(config.seed), SystemClock()

    async def lead(_: int = 0) -> None:
        await schedule(client, random=random, clock=clock, binds_in_flight=config.binds_in_flight)

    if config.leader_elect:
        work = asyncio.ensure_future(LeaderElector(client, _election(config), clock=clock, random=random).run(lead))
    else:
        work = asyncio.ensure_future(lead())
    stopping = asyncio.ensure_future(stop.wait())
    ready()
    try:
        await asyncio.wait((work, stopping), return_when=asyncio.FIRST_COMPLETED)
        if work.done():
            work.result()
    finally:
        work.cancel()
        stopping.cancel()
        await asyncio.gather(work, stopping, return_exceptions=True)
        await client.close()


async def schedule(client: ApiClient, *, random: Random, clock: Clock, binds_in_flight: int) -> None:
    """Schedule until cancelled."""
    recorder = EventRecorder(client, DEFAULT_SCHEDULER, clock=clock, random=random)
    reporter = ConditionReporter(client, clock)
    scheduler = Scheduler(client, recorder=recorder, reporter=reporter, random=random, binds_in_flight=binds_in_flight)
    informers = InformerFactory(client, random=random)
    nodes, pods = informers.informer(NODES), informers.informer(PODS, field_selector=UNFINISHED)
    nodes.add_handler(scheduler.on_node)
    pods.add_handler(scheduler.on_pod)
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            group.create_task(reporter.run())
            informers.start()
            # A pod tried before all nodes and pods are known would be refused, or crowd a node.
            await informers.wait_synced()
            log.info("scheduling: %d nodes, %d pods, %d wait", len(nodes.cache), len(pods.cache), len(scheduler.queue))
            group.create_task(scheduler.run())
    finally:
        await informers.close()


def _election(config: SchedulerConfig) -> ElectionConfig:
    return ElectionConfig(
        name=config.leader_elect_resource_name,
        namespace=config.leader_elect_resource_namespace,
        identity=config.identity,
        lease_duration_seconds=config.leader_elect_lease_duration_seconds,
        renew_deadline_seconds=config.leader_elect_renew_deadline_seconds,
        retry_period_seconds=config.leader_elect_retry_period_seconds,
    )
