"""Tells the API a pod's status: the newest only, one request at a time, until it is told; then, if asked, deletes the pod."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from controlplane.kubelet import podstatus
from controlplane.kubelet.model import Pod
from controlplane.machinery.backoff import Backoff
from controlplane.machinery.http import ConnectionLost
from controlplane.objects.kinds import PODS
from controlplane.objects.status import ApiError

if TYPE_CHECKING:
    from controlplane.kubelet.starter import Shared

log = logging.getLogger("controlplane.kubelet")

# A start or a stop changes the status twice within milliseconds: this long is waited so that one request tells both.
TELL_DELAY_SECONDS = 0.03

Status = Mapping[str, Any]


class StatusWriter:
    """One pod's. `want` and `delete_when_told` return at once; a task exists only while there is something to tell."""

    def __init__(self, shared: Shared, pod: Pod) -> None:
        self._shared = shared
        self._name = pod["metadata"]["name"]
        self._namespace = pod["metadata"]["namespace"]
        self._uid = str(pod["metadata"]["uid"])
        self._wanted: Status | None = None
        self._told: Status | None = None
        self._told_revision = 0
        self._delete = False
        self._deleted = False
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def want(self, status: Status) -> None:
        """This is the status now."""
        if status != self._told or self._wanted is not None:
            self._wanted = status if status != self._told else None
            self._begin()

    def already_told(self, status: Status) -> None:
        """The API has this status from an earlier run of the node."""
        self._told = status

    def delete_when_told(self) -> None:
        """Delete the object (grace 0, this uid only) once the newest status has been told."""
        self._delete = True
        self._begin()

    def on_pod(self, pod: Pod) -> None:
        """Somebody may have written over our status (a node controller that believed us dead): tell it again."""
        if self._told is None or self._wanted is not None:
            return
        revision = int(pod["metadata"].get("resourceVersion") or 0)
        if revision > self._told_revision and _ready(pod.get("status") or {}) != _ready(self._told):
            self._wanted, self._told = self._told, None
            self._begin()

    def stop(self) -> None:
        """Tell nothing more; a request under way is dropped."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()

    def _begin(self) -> None:
        if self._task is None and not self._stopped and (self._wanted is not None or self._must_delete()):
            self._task = asyncio.get_running_loop().create_task(self._tell())
            self._task.add_done_callback(self._on_done)

    def _on_done(self, task: asyncio.Task[None]) -> None:
        self._task = None
        if not task.cancelled() and task.exception() is not None:
            log.error("status of pod %s/%s", self._namespace, self._name, exc_info=task.exception())
        elif not self._stopped:
            self._begin()

    def _must_delete(self) -> bool:
        return self._delete and not self._deleted

    async def _tell(self) -> None:
        backoff = Backoff(self._shared.random)
        if not self._delete:
            await asyncio.sleep(TELL_DELAY_SECONDS)
        while not self._stopped:
            try:
                if self._wanted is not None:
                    await self._patch(self._wanted)
                elif self._must_delete():
                    await self._shared.client.delete(
                        PODS, self._name, self._namespace, grace_period_seconds=0, uid=self._uid
                    )
                    self._deleted = True
                else:
                    return
                backoff.reset()
            except ApiError as error:
                if error.code == 404 or (error.code == 409 and not await self._is_still_ours()):
                    self._wanted, self._deleted = None, True  # it is gone, or another pod has its name
                    return
                log.warning("status of pod %s/%s: %s", self._namespace, self._name, error)
                await asyncio.sleep(backoff.next_delay())
            except ConnectionLost as error:
                log.debug("status of pod %s/%s: %s", self._namespace, self._name, error)
                await asyncio.sleep(backoff.next_delay())

    async def _is_still_ours(self) -> bool:
        try:
            found = await self._shared.client.get(PODS, self._name, self._namespace)
        except ApiError as error:
            return error.code != 404
        except ConnectionLost:
            return True
        return bool(found["metadata"].get("uid") == self._uid)

    async def _patch(self, status: Status) -> None:
        patch = {"metadata": {"uid": self._uid}, "status": as_patch(status)}
        made = await self._shared.client.patch(
            PODS, self._name, patch, self._namespace, type="strategic", subresource="status"
        )
        self._told = status
        self._told_revision = int(made["metadata"].get("resourceVersion") or 0)
        if self._wanted is status:
            self._wanted = None


def as_patch(status: Status) -> Status:
    """For a strategic merge patch, which merges conditions by type: what a condition lacks now must be told as null."""
    conditions = [{"reason": None, "message": None, **condition} for condition in status.get("conditions") or ()]
    return {**status, "conditions": conditions}


def _ready(status: Status) -> dict[str, str]:
    own = podstatus.OWN_CONDITIONS
    found = {c["type"]: c["status"] for c in status.get("conditions") or () if c["type"] in own}
    return {**found, "phase": status.get("phase", "")}
