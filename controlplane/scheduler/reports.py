"""Tells pods why they wait: the condition PodScheduled=False. The newest report of a pod wins; few are written at a time."""

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.clock import Clock
from controlplane.objects.kinds import PODS
from controlplane.objects.meta import format_time
from controlplane.scheduler.podinfo import PodInfo

log = logging.getLogger("controlplane.scheduler")

WRITERS = 4


class ConditionReporter:
    """`report` from anywhere on the loop; `run` in a task of its own writes."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._pending: dict[str, tuple[PodInfo, str, str]] = {}
        self._wake = asyncio.Event()

    def report(self, pod: PodInfo, reason: str, message: str) -> None:
        """Have the pod's condition say `reason` and `message`, unless it does already."""
        self._pending[pod.key] = (pod, reason, message)
        self._wake.set()

    def drop(self, key: str) -> None:
        """The pod waits no more."""
        self._pending.pop(key, None)

    async def run(self) -> None:
        """Write until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(WRITERS):
                group.create_task(self._write_all())

    async def _write_all(self) -> None:
        while True:
            while not self._pending:
                self._wake.clear()
                await self._wake.wait()
            pod, reason, message = self._pending.pop(next(iter(self._pending)))
            patch = self._patch(pod, reason, message)
            if patch is None:
                continue
            try:
                await self._client.patch(PODS, pod.name, patch, pod.namespace, type="strategic", subresource="status")
            except (ApiError, ConnectionLost) as error:
                log.debug("condition of %s not written: %s", pod.key, error)

    def _patch(self, pod: PodInfo, reason: str, message: str) -> dict[str, Any] | None:
        condition = {"type": "PodScheduled", "status": "False", "reason": reason, "message": message}
        now = _scheduled_condition(pod.raw)
        if now is not None and all(now.get(field) == value for field, value in condition.items()):
            return None
        if now is None or now.get("status") != "False":
            condition["lastTransitionTime"] = format_time(self._clock.now())
        return {"metadata": {"uid": pod.uid}, "status": {"conditions": [condition]}}


def _scheduled_condition(pod: Mapping[str, Any]) -> Mapping[str, Any] | None:
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return next((condition for condition in conditions if condition["type"] == "PodScheduled"), None)
