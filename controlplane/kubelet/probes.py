"""Startup, liveness and readiness probes of one attempt of one container.

`Tally` is the pure part: thresholds over a row of outcomes. `Prober` asks at the right times and keeps a ProbeReport.
Liveness and readiness wait for startup; a container that has none has started at once.
Source: https://kubernetes.io/docs/concepts/configuration/liveness-readiness-startup-probes/
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from controlplane.kubelet.checks import Outcome
from controlplane.kubelet.model import ProbeReport

# A container that has just started is asked for readiness sooner, and without a word when it is not ready, so that its
# start is not rounded up to a whole period.
EARLY_ATTEMPTS = 10
EARLY_PERIOD_SECONDS = 0.25
PROBES = ("startupProbe", "livenessProbe", "readinessProbe")
Ask = Callable[[Mapping[str, Any], float], Awaitable[Outcome]]  # (probe, timeout in seconds)
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Tally:
    """How often the newest outcome has come in a row, and what follows. `verdict` is None until a threshold is met."""

    success_threshold: int = 1
    failure_threshold: int = 3
    verdict: bool | None = None
    last: bool | None = None
    count: int = 0

    def after(self, passed: bool) -> Tally:
        """The tally after one more outcome."""
        count = self.count + 1 if passed == self.last else 1
        threshold = self.success_threshold if passed else self.failure_threshold
        verdict = passed if count >= threshold else self.verdict
        return replace(self, last=passed, count=count, verdict=verdict)


def tally_of(probe: Mapping[str, Any]) -> Tally:
    """A fresh tally with the probe's thresholds."""
    return Tally(int(probe.get("successThreshold") or 1), int(probe.get("failureThreshold") or 3))


def has_probes(container: Mapping[str, Any]) -> bool:
    """Whether anything is to be asked."""
    return any(container.get(name) for name in PROBES)


class Prober:
    """`ask` runs one probe; `tell` gets the text of a failure (for an Event); `changed` is called when `report` changes."""

    def __init__(
        self, container: Mapping[str, Any], attempt: int, ask: Ask, tell: Tell, changed: Callable[[], None]
    ) -> None:
        self.attempt = attempt
        started = not container.get("startupProbe")
        self.report = ProbeReport(attempt, started=started, ready=started and not container.get("readinessProbe"))
        self._container = container
        self._ask = ask
        self._tell = tell
        self._changed = changed
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        """Ask no more."""
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        startup = self._container.get("startupProbe")
        if startup and not await self._startup(startup):
            return
        liveness, readiness = self._container.get("livenessProbe"), self._container.get("readinessProbe")
        self._set(started=True, ready=not readiness)
        async with asyncio.TaskGroup() as group:
            if liveness:
                group.create_task(self._liveness(liveness))
            if readiness:
                group.create_task(self._readiness(readiness))

    async def _startup(self, probe: Mapping[str, Any]) -> bool:
        tally = tally_of(probe)
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        while tally.verdict is None:
            tally = tally.after(await self._once("Startup", probe))
            if tally.verdict is None:
                await asyncio.sleep(_period(probe))
        if not tally.verdict:
            self._set(failure="startup")
        return tally.verdict

    async def _liveness(self, probe: Mapping[str, Any]) -> None:
        tally = tally_of(probe)
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        while True:
            tally = tally.after(await self._once("Liveness", probe))
            if tally.verdict is False:
                self._set(failure="liveness")
                return
            await asyncio.sleep(_period(probe))

    async def _readiness(self, probe: Mapping[str, Any]) -> None:
        tally = tally_of(probe)
        early_left = EARLY_ATTEMPTS
        await asyncio.sleep(float(probe.get("initialDelaySeconds") or 0))
        while True:
            tally = tally.after(await self._once("Readiness", probe, quiet=early_left > 0))
            if tally.verdict is not None:
                self._set(ready=tally.verdict)
            early_left = 0 if tally.last else max(early_left - 1, 0)
            await asyncio.sleep(min(EARLY_PERIOD_SECONDS, _period(probe)) if early_left else _period(probe))

    async def _once(self, kind: str, probe: Mapping[str, Any], *, quiet: bool = False) -> bool:
        timeout = float(probe.get("timeoutSeconds") or 1)
        try:
            async with asyncio.timeout(timeout):
                outcome = await self._ask(probe, timeout)
        except TimeoutError:
            outcome = Outcome(False, f"timed out after {timeout:g}s")
        if not outcome.passed and not quiet:
            self._tell(f"{kind} probe failed: {outcome.text}")
        return outcome.passed

    def _set(self, **changes: Any) -> None:
        report = replace(self.report, **changes)
        if report != self.report:
            self.report = report
            self._changed()


def _period(probe: Mapping[str, Any]) -> float:
    return float(probe.get("periodSeconds") or 10)
