"""The cloud controllers as a component: provider, client, election, and while leading one task per controller."""

import asyncio
import logging
from collections.abc import Callable
from pathlib import Path
from random import Random

import yaml

from controlplane.cloud.config import CloudConfig
from controlplane.cloud.node import CloudNodeController
from controlplane.cloud.node_lifecycle import CloudNodeLifecycleController
from controlplane.cloud.provider import InvalidCloudConfig, Provider
from controlplane.cloud.providers import PROVIDERS
from controlplane.cloud.service import ServiceController
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock, SystemClock
from controlplane.machinery.config import ClientConfig
from controlplane.machinery.controller import Controller, Reconciler
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import InformerFactory
from controlplane.machinery.participation import take_part

log = logging.getLogger("controlplane.cloud")

COMPONENT = "cloud-controller-manager"


def load_provider(name: str, path: Path) -> Provider:
    """Make a provider from its file. Raises InvalidCloudConfig."""
    if name not in PROVIDERS:
        raise InvalidCloudConfig(f"there is no cloud provider {name!r}; there are: {', '.join(sorted(PROVIDERS))}")
    try:
        document = yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise InvalidCloudConfig(f"cannot read the cloud configuration {path}: {error}") from error
    if not isinstance(document, dict):
        raise InvalidCloudConfig(f"the cloud configuration {path} is not a mapping")
    return PROVIDERS[name](document)


async def run(config: CloudConfig, *, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    """Take part until `stop` is set; `ready` is called at once. Raises InvalidCloudConfig, ConfigError."""
    load_provider(config.cloud_provider, config.cloud_config)
    client = ApiClient(ClientConfig.from_kubeconfig(config.kubeconfig, user_agent=COMPONENT))
    random, clock = Random(config.seed), SystemClock()

    async def lead(_: int = 0) -> None:
        # A new leadership knows only what the API says: no address remembered from the last one.
        provider = load_provider(config.cloud_provider, config.cloud_config)
        await control(client, provider, config, random=random, clock=clock)

    try:
        await take_part(config, client, lead, stop=stop, ready=ready, clock=clock, random=random)
    finally:
        await client.close()


async def control(client: ApiClient, provider: Provider, config: CloudConfig, *, random: Random, clock: Clock) -> None:
    """Run the controllers until cancelled."""
    recorder = EventRecorder(client, COMPONENT, clock=clock, random=random)
    informers = InformerFactory(client, random=random)
    reconcilers: tuple[tuple[Reconciler, int], ...] = (
        (CloudNodeController(provider), 1),
        (CloudNodeLifecycleController(provider, config.node_monitor_period_seconds), 1),
        (ServiceController(provider), config.concurrent_service_syncs),
    )
    controllers = [
        Controller(reconciler, informers, client, recorder, clock=clock, random=random, workers=workers)
        for reconciler, workers in reconcilers
    ]
    log.info("running with cloud provider %s", provider.name)
    informers.start()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(recorder.run())
            for controller in controllers:
                group.create_task(controller.run(), name=controller.name)
    finally:
        await informers.close()
