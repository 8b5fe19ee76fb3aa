"""The manager: one election, and under it all controllers over one set of informers."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from random import Random

from controlplane.controllers.config import ControllerManagerConfig, default_concurrency
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.controller import Controller, Reconciler
from controlplane.machinery.events import EventRecorder
from controlplane.machinery.informer import InformerFactory
from controlplane.machinery.participation import take_part

log = logging.getLogger("controlplane.controllers")

Registry = dict[str, Callable[[ControllerManagerConfig, Clock], Reconciler | None]]


def chosen(registry: Registry, selection: Sequence[str]) -> list[str]:
    """The names that --controllers means: "*" is all, "name" one, "-name" all but one. ValueError on an unknown name."""
    names = {entry.lstrip("-") for entry in selection} - {"*"}
    if unknown := sorted(names - registry.keys()):
        raise ValueError(f"unknown controllers: {', '.join(unknown)}; known: {', '.join(registry)}")
    return [name for name in registry if f"-{name}" not in selection and ("*" in selection or name in selection)]


class Manager:
    """Runs until `stop`; leads when it wins."""

    def __init__(
        self, config: ControllerManagerConfig, registry: Registry, client: ApiClient, clock: Clock, random: Random
    ) -> None:
        self._config = config
        self._client = client
        self._clock = clock
        self._random = random
        makers = [registry[name] for name in chosen(registry, config.controllers)]
        # Made here and not on winning: a configuration that cannot be served must be refused at the start.
        self._makers = [maker for maker in makers if maker(config, clock) is not None]

    async def run(self, stop: asyncio.Event, ready: Callable[[], None]) -> None:
        """Compete and lead until `stop` is set."""
        await take_part(
            self._config, self._client, self._lead, stop=stop, ready=ready, clock=self._clock, random=self._random
        )

    async def _lead(self, fencing_token: int) -> None:
        """Run every controller until cancelled."""
        config = self._config
        informers = InformerFactory(self._client, random=self._random)
        recorder = EventRecorder(self._client, "controllermanager", clock=self._clock, random=self._random)
        controllers = []
        for maker in self._makers:
            reconciler = maker(config, self._clock)
            assert reconciler is not None
            controllers.append(
                Controller(
                    reconciler,
                    informers,
                    self._client,
                    recorder,
                    clock=self._clock,
                    random=self._random,
                    workers=config.concurrency.get(reconciler.NAME, default_concurrency(reconciler.NAME)),
                )
            )
        informers.start()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(recorder.run())
                for controller in controllers:
                    group.create_task(_watched(controller), name=controller.name)
        finally:
            await informers.close()


async def _watched(controller: Controller) -> None:
    try:
        await controller.run()
    except Exception:
        log.exception("%s ended", controller.name)
        raise
