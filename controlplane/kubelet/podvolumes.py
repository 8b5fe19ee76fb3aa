"""The volumes of one pod on this node: made before its containers start, kept up to date while they run."""

from __future__ import annotations

import asyncio
import logging
import shutil
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from controlplane.kubelet import podstatus
from controlplane.kubelet.environment import Facts
from controlplane.kubelet.model import Pod
from controlplane.kubelet.sources import ObjectSource
from controlplane.kubelet.volumes import (
    File,
    TokenWanted,
    VolumeError,
    VolumePlan,
    prepare_host_path,
    volume_plan,
    volume_references,
    write_files,
)
from controlplane.machinery.client import ApiClient
from controlplane.machinery.clock import Clock
from controlplane.machinery.http import ConnectionLost
from controlplane.objects.kinds import SERVICE_ACCOUNTS
from controlplane.objects.status import ApiError

log = logging.getLogger("controlplane.kubelet")

TOKEN_REFRESH_SHARE = 0.8  # of a token's life; upstream's share
TOKEN_RETRY_SECONDS = 10.0
EMPTY_DIR_MODE = 0o777


class PodVolumes:
    """`changed` is called when an object that a volume shows has changed and the volume could not be made before."""

    def __init__(
        self, directory: Path, client: ApiClient, sources: ObjectSource, clock: Clock, changed: Callable[[], None]
    ) -> None:
        self.places: dict[str, Path] = {}
        self.ready = False
        self._directory = directory
        self._client = client
        self._sources = sources
        self._clock = clock
        self._changed = changed
        self._pod: Pod | None = None
        self._facts: Facts | None = None
        self._tokens: dict[TokenWanted, tuple[str, datetime]] = {}
        self._refresh: asyncio.Task[None] | None = None
        self._dirty = asyncio.Event()
        self._lock = asyncio.Lock()

    async def ensure(self, pod: Pod, facts: Facts) -> Mapping[str, Path]:
        """Make every volume of the pod; volume name -> where it is. VolumeError when one cannot be made now."""
        self._pod, self._facts = pod, facts
        if not pod["spec"].get("volumes"):
            return self.places
        if self._refresh is None:
            owner, namespace = pod["metadata"]["uid"], pod["metadata"]["namespace"]
            self._sources.follow(owner, namespace, set(volume_references(pod)), self._on_change)
            self._refresh = asyncio.get_running_loop().create_task(self._keep_fresh())
        if not self.ready:
            await self._write()
            self.ready = True
        return self.places

    def update(self, pod: Pod) -> None:
        """Labels and annotations of the pod may have changed: volumes may show them."""
        before, self._pod = self._pod, pod
        if before is None or not self.ready:
            return
        if any(before["metadata"].get(k) != pod["metadata"].get(k) for k in ("labels", "annotations")):
            self._dirty.set()

    async def stop(self) -> None:
        """Follow nothing any more; what is on disk stays."""
        if self._pod is not None:
            self._sources.release(self._pod["metadata"]["uid"])
        if self._refresh is not None:
            self._refresh.cancel()
            await asyncio.wait([self._refresh])
            self._refresh = None

    def remove(self) -> None:
        """Take it all off the disk."""
        shutil.rmtree(self._directory, ignore_errors=True)

    def _on_change(self) -> None:
        if self.ready:
            self._dirty.set()
        else:
            self._changed()

    async def _keep_fresh(self) -> None:
        """Write again when something has changed or a token grows old."""
        while True:
            try:
                async with asyncio.timeout(self._seconds_to_refresh()):
                    await self._dirty.wait()
            except TimeoutError:
                pass
            self._dirty.clear()
            if not self.ready:
                continue
            try:
                await self._write()
            except (VolumeError, ApiError, ConnectionLost, OSError) as error:
                log.warning("volumes of %s: %s", podstatus.full_name(self._pod or {}), error)
                await asyncio.sleep(TOKEN_RETRY_SECONDS)

    def _seconds_to_refresh(self) -> float | None:
        """None while there is no token."""
        if not self._tokens:
            return None
        soonest = min(refresh_at for _, refresh_at in self._tokens.values())
        return max((soonest - self._clock.now()).total_seconds(), 1.0)

    async def _write(self) -> None:
        assert self._pod is not None and self._facts is not None
        async with self._lock:
            namespace = self._pod["metadata"]["namespace"]
            try:
                lookup = await self._sources.read_all(namespace, set(volume_references(self._pod)))
            except (ApiError, ConnectionLost, TimeoutError) as error:
                raise VolumeError(f"MountVolume.SetUp failed: reading its objects: {error or 'timed out'}") from error
            for volume in self._pod["spec"].get("volumes") or ():
                plan = volume_plan(self._pod, volume, lookup, self._facts)
                self.places[plan.name] = await self._make(plan)

    async def _make(self, plan: VolumePlan) -> Path:
        if plan.host_path:
            prepare_host_path(plan.host_path, plan.host_path_type)
            return Path(plan.host_path)
        place = self._directory / plan.name
        if plan.files is None:
            if not place.is_dir():
                place.mkdir(parents=True)
                place.chmod(EMPTY_DIR_MODE)
            return place
        files = dict(plan.files)
        for wanted in plan.tokens:
            files[wanted.path] = File((await self._token(wanted)).encode(), wanted.mode)
        write_files(place, files, self._clock.now().strftime("%Y_%m_%d_%H_%M_%S"))
        return place

    async def _token(self, wanted: TokenWanted) -> str:
        """A token for the pod's service account, bound to the pod; asked for again in the last fifth of its life."""
        assert self._pod is not None
        known = self._tokens.get(wanted)
        if known is not None and self._clock.now() < known[1]:
            return known[0]
        meta, spec = self._pod["metadata"], self._pod["spec"]
        request: dict[str, Any] = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {
                "audiences": [wanted.audience] if wanted.audience else [],
                "expirationSeconds": wanted.lifetime_seconds,
                "boundObjectRef": {"apiVersion": "v1", "kind": "Pod", "name": meta["name"], "uid": meta["uid"]},
            },
        }
        account = spec.get("serviceAccountName") or "default"
        try:
            made = await self._client.create(
                SERVICE_ACCOUNTS, request, meta["namespace"], subresource="token", name=account
            )
        except (ApiError, ConnectionLost) as error:
            raise VolumeError(f"MountVolume.SetUp failed: failed to fetch token: {error}") from error
        now = self._clock.now()
        until = podstatus.parse_time(made["status"].get("expirationTimestamp"))
        life = (until - now) if until is not None else timedelta(seconds=wanted.lifetime_seconds)
        self._tokens[wanted] = (made["status"]["token"], now + life * TOKEN_REFRESH_SHARE)
        return str(made["status"]["token"])
