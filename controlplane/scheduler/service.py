"""The scheduler as a component: client, election, informers, and while leading the loop."""

import asyncio
import logging
from collections.abc import Callable
from random import Random

from controlplane.machinery.cache import Change
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import Informer, InformerFactory
from controlplane.machinery.participation import take_part
from controlplane.objects.kinds import NODES, PODS
from controlplane.scheduler.config import SchedulerConfig
from controlplane.scheduler.podinfo import DEFAULT_SCHEDULER
from controlplane.scheduler.reports import ConditionReporter
from controlplane.scheduler.scheduler import Scheduler

log = logging.getLogger("controlplane.scheduler")

REPLAY_AT_A_STRETCH = 100

# Finished pods hold nothing; the server tells of a pod that finishes as of one that is deleted.
UNFINISHED = "status.phase!=Succeeded,status.phase!=Failed"


class Feed:
    """Informers of nodes and pods, told to the scheduler that leads now.

    They start with the first leadership and go on when it is lost: who led once has the cluster at hand when it leads again, and
    masters under load that lose and win do not make it worse by listing everything each time.
    """

    def __init__(self, client: ApiClient, random: Random) -> None:
        self._informers = InformerFactory(client, random=random)
        self.nodes = self._informers.informer(NODES)
        self.pods = self._informers.informer(PODS, field_selector=UNFINISHED)
        self._scheduler: Scheduler | None = None
        self.nodes.add_handler(self._on_node)
        self.pods.add_handler(self._on_pod)

    async def lead(self, scheduler: Scheduler) -> None:
        """Tell this scheduler all there is, and from now on every change. Return when it knows all nodes and pods."""
        self._scheduler = scheduler
        self._informers.start()
        await self._replay(self.nodes, scheduler.on_node)
        await self._replay(self.pods, scheduler.on_pod)
        # A pod tried before all nodes and pods are known would be refused, or crowd a node.
        await self._informers.wait_synced()

    def leave(self) -> None:
        """No scheduler leads."""
        self._scheduler = None

    async def close(self) -> None:
        """Stop following."""
        await self._informers.close()

    @staticmethod
    async def _replay(informer: Informer, handler: Callable[[Change], None]) -> None:
        """Tell of each object that is there. Changes come in between; being told twice does no harm."""
        for number, key in enumerate(list(informer.cache.keys())):
            obj = informer.cache.get(key)
            if obj is not None:
                handler(Change("ADDED", None, obj))
            if number % REPLAY_AT_A_STRETCH == 0:
                await asyncio.sleep(0)

    def _on_node(self, change: Change) -> None:
        if self._scheduler is not None:
            self._scheduler.on_node(change)

    def _on_pod(self, change: Change) -> None:
        if self._scheduler is not None:
            self._scheduler.on_pod(change)


async def serve(config: SchedulerConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Take part until `stop` is set."""
    client = ApiClient(ClientConfig.from_kubeconfig(config.kubeconfig, user_agent="kube-scheduler"))
    random, clock = Random(config.seed), SystemClock()
    feed = Feed(client, random)

    async def lead(_: int = 0) -> None:
        await schedule(client, feed, random=random, clock=clock, binds_in_flight=config.binds_in_flight)

    try:
        await take_part(config, client, lead, stop=stop, ready=ready, clock=clock, random=random)
    finally:
        await feed.close()
        await client.close()


async def schedule(client: ApiClient, feed: Feed, *, random: Random, clock: Clock, binds_in_flight: int) -> None:
    """Schedule until cancelled."""
    recorder = EventRecorder(client, DEFAULT_SCHEDULER, clock=clock, random=random)
    reporter = ConditionReporter(client, clock)
    scheduler = Scheduler(client, recorder=recorder, reporter=reporter, random=random, binds_in_flight=binds_in_flight)
    try:
        await feed.lead(scheduler)
        log.info(
            "scheduling: %d nodes, %d pods, %d wait", len(feed.nodes.cache), len(feed.pods.cache), len(scheduler.queue)
        )
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            group.create_task(reporter.run())
            group.create_task(scheduler.run())
    finally:
        feed.leave()
