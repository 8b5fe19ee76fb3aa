"""LeaderElector: at most one of several candidates works at a time, through a coordination.k8s.io Lease.

The Lease is changed only by compare-and-swap on its resourceVersion. A candidate never compares clocks with the leader's:
it watches the Lease and takes it when it has not changed for its duration by the candidate's own monotonic count. The
leader counts its time from *before* the renewal it sent, and stops its work (and waits until it has stopped) after
`renew_deadline_seconds` without a renewal, which is shorter than the lease. `leaseTransitions` grows with each change of
the holder: it is the fencing token.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any

from controlplane.machinery.client import ApiClient, ApiError, ConnectionLost
from controlplane.machinery.clock import Clock
from controlplane.objects.kinds import LEASES
from controlplane.objects.meta import format_micro_time

__all__ = ["ElectionConfig", "LeaderElector"]

log = logging.getLogger("controlplane.machinery")

Object = dict[str, Any]

SHORTEST_ATTEMPT_SECONDS = 0.001
JITTER = 1.2  # the deadline must leave room for a retry that comes this much late


@dataclass(frozen=True, slots=True)
class ElectionConfig:
    """Timing, in seconds; the defaults are Kubernetes'. lease_duration > renew_deadline > retry_period * JITTER."""

    name: str
    identity: str
    namespace: str = "kube-system"
    lease_duration_seconds: float = 15.0
    renew_deadline_seconds: float = 10.0
    retry_period_seconds: float = 2.0

    def __post_init__(self) -> None:
        if not self.lease_duration_seconds > self.renew_deadline_seconds > self.retry_period_seconds * JITTER:
            raise ValueError("leader election needs lease duration > renew deadline > 1.2 x retry period")


class LeaderElector:
    """One candidate. `run` until cancelled; it leads as often as it wins."""

    def __init__(self, client: ApiClient, config: ElectionConfig, *, clock: Clock, random: Random) -> None:
        self.config = config
        self.is_leader = False
        self._client = client
        self._clock = clock
        self._random = random
        self._lease: Object | None = None  # as last seen; None: there is none, or we have not looked
        self._observed_at = 0.0  # loop seconds when it last changed under our eyes
        self._changed = asyncio.Event()
        self._trouble = ""  # why the last renewal failed

    async def run(
        self,
        on_started_leading: Callable[[int], Awaitable[None]],
        on_stopped_leading: Callable[[], None] | None = None,
    ) -> None:
        """Compete, and while leading run `on_started_leading(fencing token)` as a task, cancelled when the lease is lost.

        If that work ends by itself, the lease is released and this returns; its exception is raised.
        Cancelling this stops the work and releases the lease.
        """
        while True:
            renewed_at = await self._acquire()
            self.is_leader = True
            log.info("%s leads %s", self.config.identity, self.config.name)
            work = asyncio.ensure_future(on_started_leading(self._transitions()))
            try:
                ended = await self._lead(work, renewed_at)
            finally:
                await _stop(work)
                self.is_leader = False
                if on_stopped_leading is not None:
                    on_stopped_leading()
                await self._release()
            if ended:
                return await work
            log.warning("%s no longer leads %s: %s", self.config.identity, self.config.name, self._trouble)

    # --- as a candidate
    async def _acquire(self) -> float:
        """Return when the lease is ours: the loop's time before the request that got it."""
        watcher = asyncio.ensure_future(self._follow())
        try:
            while True:
                renewed_at = await self._try()
                if renewed_at is not None:
                    return renewed_at
                await self._wait_for_chance()
        finally:
            await _stop(watcher)

    async def _try(self) -> float | None:
        """Look at the lease and take it if it is free; the loop's time before the request if it is ours now."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(self.config.renew_deadline_seconds):
                try:
                    self._observe(await self._client.get(LEASES, self.config.name, self.config.namespace))
                except ApiError as error:
                    if error.code != 404:
                        raise
                    self._lease = None
                if not self._is_free():
                    return None
                started = loop.time()
                await self._write()
                return started
        except (ApiError, ConnectionLost, TimeoutError) as error:
            log.debug("election %s: %s", self.config.name, error)
            return None

    def _is_free(self) -> bool:
        spec = (self._lease or {}).get("spec") or {}
        if not spec.get("holderIdentity") or spec["holderIdentity"] == self.config.identity:
            return True
        return self._expires_in() <= 0

    def _expires_in(self) -> float:
        spec = (self._lease or {}).get("spec") or {}
        duration = float(spec.get("leaseDurationSeconds") or self.config.lease_duration_seconds)
        return self._observed_at + duration - asyncio.get_running_loop().time()

    async def _wait_for_chance(self) -> None:
        """Until the lease was given up, or has run out under our eyes, plus some chance so that not all try at once."""
        while True:
            spec = (self._lease or {}).get("spec") or {}
            held = bool(spec.get("holderIdentity")) and spec["holderIdentity"] != self.config.identity
            delay = self._expires_in() if held else self.config.retry_period_seconds / 4
            delay = max(delay, 0.0) + self.config.retry_period_seconds * self._random.random() / 2
            self._changed.clear()
            try:
                async with asyncio.timeout(delay):
                    await self._changed.wait()
            except TimeoutError:
                return

    async def _follow(self) -> None:
        """Keep the picture of the lease fresh by a watch; where that fails, `_try` looks for itself."""
        selector = f"metadata.name={self.config.name}"
        while True:
            try:
                events = self._client.watch(LEASES, self.config.namespace, field_selector=selector)
                async with aclosing(events):
                    async for event in events:
                        if event.type in ("ADDED", "MODIFIED"):
                            self._observe(event.object)
                        elif event.type == "DELETED":
                            self._lease = None
                            self._changed.set()
            except (ApiError, ConnectionLost) as error:
                log.debug("election %s: watch: %s", self.config.name, error)
            await asyncio.sleep(self.config.retry_period_seconds * (1 + self._random.random()))

    def _observe(self, lease: Object) -> None:
        old, self._lease = self._lease, lease
        if old is None or old["metadata"].get("resourceVersion") != lease["metadata"].get("resourceVersion"):
            self._observed_at = asyncio.get_running_loop().time()
            self._changed.set()

    # --- as the leader
    async def _lead(self, work: asyncio.Future[None], renewed_at: float) -> bool:
        """Renew until that fails for too long (False), or the work ends (True)."""
        loop = asyncio.get_running_loop()
        config = self.config
        pause = interval = max(config.retry_period_seconds, config.renew_deadline_seconds / 3)
        while True:
            await asyncio.wait((work,), timeout=pause)
            deadline = renewed_at + config.renew_deadline_seconds
            started = loop.time()
            if work.done():
                return True
            if deadline - started < SHORTEST_ATTEMPT_SECONDS:
                return False
            renewal = asyncio.ensure_future(self._renew())
            # All that is left: on a busy machine a late answer is likelier than none, and a second try would only
            # meet the first one's write.
            patience = deadline - started
            await asyncio.wait((work, renewal), timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not renewal.done():
                self._trouble = f"no answer to the renewal in {patience:.1f} s"
            outcome = renewal.result() if renewal.done() else False
            await _stop(renewal)
            if outcome is None:
                return False  # somebody else holds it
            if outcome:
                renewed_at, pause = started, interval
            else:
                pause = min(config.retry_period_seconds, max(0.0, deadline - loop.time()))

    async def _renew(self) -> bool | None:
        """True: renewed. False: not now. None: it is another's."""
        try:
            await self._write()
            return True
        except ConnectionLost as error:
            self._trouble = str(error)
        except ApiError as error:
            self._trouble = str(error)
            if error.code not in (404, 409):
                return False
        try:  # the outcome of an earlier renewal was unknown, or somebody wrote: look
            self._lease = await self._client.get(LEASES, self.config.name, self.config.namespace)
        except ApiError as error:
            if error.code == 404:
                self._lease = None
        except ConnectionLost:
            return False
        holder = ((self._lease or {}).get("spec") or {}).get("holderIdentity")
        return None if holder and holder != self.config.identity else False

    async def _release(self) -> None:
        """Give the lease up, so that the next need not wait for it to run out. Best effort."""
        lease = self._lease
        if lease is None or (lease.get("spec") or {}).get("holderIdentity") != self.config.identity:
            return
        spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": self._now()}
        try:
            async with asyncio.timeout(self.config.retry_period_seconds):
                self._lease = await self._client.update(LEASES, {**lease, "spec": spec})
        except (ApiError, ConnectionLost, TimeoutError) as error:
            log.debug("election %s: release: %s", self.config.name, error)

    # --- the lease
    def _transitions(self) -> int:
        return int((((self._lease or {}).get("spec")) or {}).get("leaseTransitions") or 0)

    def _now(self) -> str:
        moment: datetime = self._clock.now()
        return format_micro_time(moment)

    async def _write(self) -> None:
        """Create or renew the lease in our name, on what we last saw of it."""
        now, lease = self._now(), self._lease
        spec: Object = {
            "holderIdentity": self.config.identity,
            "leaseDurationSeconds": max(1, round(self.config.lease_duration_seconds)),
            "renewTime": now,
        }
        if lease is None:
            metadata = {"name": self.config.name, "namespace": self.config.namespace}
            spec |= {"acquireTime": now, "leaseTransitions": 0}
            obj: Object = {"apiVersion": LEASES.group_version, "kind": "Lease", "metadata": metadata, "spec": spec}
            self._lease = await self._client.create(LEASES, obj)
            return
        old = lease.get("spec") or {}
        if old.get("holderIdentity") == self.config.identity:
            spec = {**old, **spec}
        else:
            spec = {**old, **spec, "acquireTime": now, "leaseTransitions": self._transitions() + 1}
        self._lease = await self._client.update(LEASES, {**lease, "spec": spec})


async def _stop(task: asyncio.Future[Any]) -> None:
    """Cancel, and wait until it has really ended; its outcome is for others to look at."""
    if not task.done():
        task.cancel()
        await asyncio.wait((task,))
