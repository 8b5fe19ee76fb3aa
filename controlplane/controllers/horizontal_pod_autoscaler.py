"""Horizontal pod autoscaler: size a scalable object by what its pods use, within bounds and not too eagerly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from controlplane.controllers import _autoscaler_status as reporting
from controlplane.controllers import _pods
from controlplane.controllers._discovery import discover
from controlplane.controllers._scaling import Behavior, Memory, limited, replicas_for, stabilized
from controlplane.controllers._usage import NodeMetrics, Usage
from controlplane.controllers.config import ControllerManagerConfig
from controlplane.machinery.actions import Note, Plan, Update
from controlplane.machinery.client import ApiClient, ApiError
from controlplane.machinery.clock import Clock
from controlplane.machinery.controller import Caches, Kind, Reads, Watch
from controlplane.objects.kinds import BUILT_IN, HORIZONTAL_POD_AUTOSCALERS, PODS, Resource
from controlplane.objects.meta import condition_of, get_in, is_deleting, name_of, namespace_of, uid_of
from controlplane.objects.quantity import milli_value
from controlplane.objects.selectors import SelectorError, parse_labels

Object = dict[str, Any]

FIRST_LOOK_SECONDS = 3.0  # after the first look at a node's counters, until the second
MAXIMUM_WINDOW_SECONDS = 3600.0


@dataclass(frozen=True, slots=True)
class Observed:
    """The autoscaler, its target's scale and pods, and what their containers use."""

    autoscaler: Object
    memory: Memory
    now_seconds: float
    resource: Resource | None = None
    scale: Object | None = None
    pods: Sequence[Object] = ()
    usage: Mapping[tuple[str, str, str], Usage] = field(default_factory=dict)
    problem: tuple[str, str] = ("", "")  # (reason, message) where the scale could not be read


@dataclass(frozen=True, slots=True)
class Measured:
    """One metric's verdict."""

    replicas: int
    current: Object  # the entry of status.currentMetrics
    name: str
    error: str = ""


class HorizontalPodAutoscaler:
    """State beside the cluster's: recent recommendations and changes per autoscaler, and the nodes' last counters."""

    NAME = "horizontal-pod-autoscaler-controller"
    WATCHES: tuple[Watch, ...] = (
        Kind(HORIZONTAL_POD_AUTOSCALERS, changed=lambda old, new: old.get("spec") != new.get("spec")),
        Reads(PODS),
    )

    def __init__(self, config: ControllerManagerConfig, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._metrics = NodeMetrics(clock)
        self._memories: dict[str, Memory] = {}
        self._caches: Caches | None = None
        self._resources = {(found.group_version, found.kind): found for found in BUILT_IN}

    def observe(self, key: str, caches: Caches) -> Observed | None:
        """The autoscaler, or None when it is gone."""
        self._caches = caches
        found = caches[HORIZONTAL_POD_AUTOSCALERS].get(key)
        if found is None or is_deleting(found):
            self._memories.pop(key, None)
            return None
        memory = self._memories.setdefault(key, Memory())
        memory.forget(self._clock.monotonic() - MAXIMUM_WINDOW_SECONDS)
        return Observed(found, memory, self._clock.monotonic())

    async def fetch(self, observed: Observed, client: ApiClient) -> Observed:
        """Read the target's scale and its pods' usage."""
        assert self._caches is not None
        target = observed.autoscaler["spec"]["scaleTargetRef"]
        namespace = namespace_of(observed.autoscaler)
        resource = await self._resource(target, client)
        if resource is None:
            text = f'no matches for kind "{target.get("kind")}" in version "{target.get("apiVersion")}"'
            return replace(observed, problem=("FailedGetScale", text))
        try:
            scale = await client.get(resource, target["name"], namespace, subresource="scale")
            selector = parse_labels(get_in(scale, "status", "selector", default=""))
        except (ApiError, SelectorError) as error:
            return replace(observed, resource=resource, problem=("FailedGetScale", str(error)))
        pods = [] if selector.is_everything else self._caches[PODS].select(namespace, selector)
        nodes = {node for pod in pods if _pods.is_active(pod) and (node := get_in(pod, "spec", "nodeName"))}
        usage = await self._metrics.usage(client, nodes)
        return replace(observed, resource=resource, scale=scale, pods=pods, usage=usage)

    async def _resource(self, target: Object, client: ApiClient) -> Resource | None:
        identity = (target.get("apiVersion", ""), target["kind"])
        if identity not in self._resources:
            discovered = await discover(client)
            self._resources |= {(found.group_version, found.kind): found for found in discovered.resources}
        return self._resources.get(identity)

    def plan(self, observed: Observed, now: datetime) -> Plan:
        """Follow the metrics."""
        period = self._config.hpa_sync_period_seconds
        autoscaler = observed.autoscaler
        if observed.scale is None:
            status = reporting.failed(autoscaler, "AbleToScale", *observed.problem, now)
            return Plan(status=status, notes=_warning(autoscaler, *observed.problem), again_after=period)
        decision = _Decision(self._config, observed, now)
        decision.decide()
        if observed.pods and not observed.usage and not observed.memory.recommendations:
            # Rates take two looks: come back soon, and do not complain yet.
            period, decision.notes = min(period, FIRST_LOOK_SECONDS), ()
        if decision.recommended is not None:
            observed.memory.recommendations.append((observed.now_seconds, decision.recommended))
        if decision.change:
            observed.memory.changes.append((observed.now_seconds, decision.change))
        return decision.as_plan(period)


def _warning(autoscaler: Object, reason: str, message: str) -> tuple[Note, ...]:
    return (Note(autoscaler, "Warning", reason, message),)


class _Decision:
    """One decision in the making: from the metrics to a number, and what to say about it."""

    def __init__(self, config: ControllerManagerConfig, observed: Observed, now: datetime) -> None:
        assert observed.scale is not None
        self.config, self.observed, self.now = config, observed, now
        self.autoscaler, self.scale = observed.autoscaler, observed.scale
        self.spec: Object = self.autoscaler["spec"]
        self.current = int(get_in(self.scale, "spec", "replicas", default=0))
        self.minimum = int(self.spec.get("minReplicas") or 1)
        self.maximum = int(self.spec["maxReplicas"])
        self.desired = self.current
        self.recommended: int | None = None
        self.reason = ""
        self.metrics: list[Object] = []
        self.report = reporting.Report(self.autoscaler, now)
        self.notes: tuple[Note, ...] = ()
        window, tolerance = config.hpa_downscale_stabilization_seconds, config.hpa_tolerance
        self.behavior = Behavior.of(self.spec.get("behavior"), window, tolerance)

    @property
    def change(self) -> int:
        return self.desired - self.current

    def decide(self) -> None:
        self.report.set(
            "AbleToScale", "True", "SucceededGetScale", "the HPA controller was able to get the target's current scale"
        )
        if self.current == 0 and self.minimum != 0:
            text = "scaling is disabled since the replica count of the target is zero"
            self.report.set("ScalingActive", "False", "ScalingDisabled", text)
        elif self.current > self.maximum:
            self.desired, self.reason = self.maximum, "Current number of replicas above Spec.MaxReplicas"
        elif self.current < self.minimum:
            self.desired, self.reason = self.minimum, "Current number of replicas below Spec.MinReplicas"
        else:
            self.follow_metrics()

    def follow_metrics(self) -> None:
        verdicts = [self.measure(metric) for metric in self.spec.get("metrics") or _DEFAULT_METRICS]
        self.metrics = [verdict.current for verdict in verdicts if verdict.current]
        valid = [verdict for verdict in verdicts if not verdict.error]
        failed = [verdict for verdict in verdicts if verdict.error]
        best = max(valid, key=lambda verdict: verdict.replicas, default=None)
        if failed:
            reason, message = failed[0].name, failed[0].error
            self.notes = _warning(self.autoscaler, reason, message)
            # One metric that is not known could have asked for more: never scale down on the others alone.
            if best is None or best.replicas < self.current:
                text = f"the HPA was unable to compute the replica count: {message}"
                self.report.set("ScalingActive", "False", reason, text)
                return
        assert best is not None
        text = f"the HPA was able to successfully calculate a replica count from {best.name}"
        self.report.set("ScalingActive", "True", "ValidMetricFound", text)
        self.reason = f"{best.name} above target" if best.replicas > self.current else "All metrics below target"
        self.settle(best.replicas)

    def settle(self, wanted: int) -> None:
        """From what the metrics say to what may be done now."""
        self.recommended = wanted
        seconds, memory = self.observed.now_seconds, self.observed.memory
        if not memory.recommendations:  # the size found counts as recommended: nobody shrinks for a start
            memory.recommendations.append((seconds, self.current))
        steady, held = stabilized(self.behavior, memory, self.current, wanted, seconds)
        self.report.stabilized(held)
        bounded = (self.minimum, self.maximum, seconds)
        self.desired, limit = limited(self.behavior, memory, self.current, steady, *bounded)
        self.report.limited(limit)

    def measure(self, metric: Object) -> Measured:
        """One metric's verdict; only resources of the pods can be measured here."""
        kind = metric["type"]
        source = metric.get("resource") if kind == "Resource" else metric.get("containerResource")
        if kind not in ("Resource", "ContainerResource") or source is None:
            return Measured(0, {}, f"FailedGet{kind}Metric", f"metrics of type {kind} are not served here")
        try:
            return self.measure_resource(kind, source)
        except ValueError as error:
            name = source["name"]
            return Measured(0, {}, f"FailedGet{kind}Metric", f"failed to get {name} utilization: {error}")

    def measure_resource(self, kind: str, source: Object) -> Measured:
        name, target = source["name"], source["target"]
        usage, requests, missing, unready = self.sample(name, source.get("container", ""))
        if target["type"] == "Utilization":
            wanted, base = target["averageUtilization"] / 100, requests()
            fallback = max(1.0, wanted)
        else:
            wanted, base = float(milli_value(target["averageValue"])), dict.fromkeys({*usage, *missing, *unready}, 1.0)
            fallback = wanted
        replicas, _ = replicas_for(
            self.current,
            wanted,
            usage,
            base,
            missing,
            unready,
            tolerance_up=self.behavior.up.tolerance,
            tolerance_down=self.behavior.down.tolerance,
            fallback=fallback,
        )
        ready = {pod: value for pod, value in usage.items() if pod not in unready}
        share = sum(ready.values()) / sum(base[pod] for pod in ready) if target["type"] == "Utilization" else None
        current = reporting.current_metric(kind, source, ready, share)
        form = "percentage of request" if share is not None else "average value"
        noun = f"{name} container resource" if kind == "ContainerResource" else f"{name} resource"
        title = f"{noun} utilization ({form})" if share is not None else f"{noun}"
        return Measured(replicas, current, title)

    def sample(self, name: str, container: str) -> tuple[dict[str, float], Any, set[str], set[str]]:
        """(usage by pod uid in thousandths, a function for the requests, pods not measured, pods not ready)."""
        usage: dict[str, float] = {}
        missing: set[str] = set()
        unready: set[str] = set()
        counted: list[Object] = []
        for pod in self.observed.pods:
            if is_deleting(pod) or _pods.phase_of(pod) in ("Failed", "Succeeded"):
                continue
            counted.append(pod)
            value = self.usage_of(pod, name, container)
            if _pods.phase_of(pod) == "Pending":
                unready.add(uid_of(pod))
            elif value is None:
                missing.add(uid_of(pod))
            else:
                usage[uid_of(pod)] = value
                if name == "cpu" and self.is_warming_up(pod):
                    unready.add(uid_of(pod))
        return usage, lambda: {uid_of(pod): _request(pod, name, container) for pod in counted}, missing, unready

    def usage_of(self, pod: Object, name: str, container: str) -> float | None:
        names = [each["name"] for each in get_in(pod, "spec", "containers", default=[])]
        total = 0.0
        for each in names:
            found = self.observed.usage.get((namespace_of(pod), name_of(pod), each))
            if container not in ("", each):
                continue
            if found is None:
                return None
            total += found.cpu_milli if name == "cpu" else found.memory_bytes * 1000
        return total

    def is_warming_up(self, pod: Object) -> bool:
        """A pod that has just started: its CPU says nothing about the load."""
        ready, started = condition_of(pod, "Ready"), _pods.time_of(get_in(pod, "status", "startTime"))
        if ready is None or started is None:
            return True
        changed = _pods.time_of(ready.get("lastTransitionTime")) or started
        is_ready = ready.get("status") == "True"
        if (self.now - started).total_seconds() < self.config.hpa_cpu_initialization_period_seconds:
            window = max((found.window_seconds for found in self.observed.usage.values()), default=0.0)
            return not is_ready or (self.now - changed).total_seconds() < window
        delay = self.config.hpa_initial_readiness_delay_seconds
        return not is_ready and (changed - started).total_seconds() < delay

    def as_plan(self, period: float) -> Plan:
        """The new size and the status."""
        notes = self.notes
        actions: tuple[Update, ...] = ()
        if self.change:
            assert self.observed.resource is not None
            sized = {**self.scale, "spec": {**self.scale.get("spec", {}), "replicas": self.desired}}
            text = f"New size: {self.desired}; reason: {self.reason}"
            done = Note(self.autoscaler, "Normal", "SuccessfulRescale", text)
            problem = Note(self.autoscaler, "Warning", "FailedRescale", f"{text}; error: {{error}}")
            actions = (Update(self.observed.resource, sized, "scale", on_success=done, on_failure=problem),)
            self.report.rescaled(self.desired)
        observed_replicas = int(get_in(self.scale, "status", "replicas", default=self.current))
        status = self.report.as_update(observed_replicas, self.desired, self.metrics)
        return Plan(actions, status, notes, period)


_DEFAULT_METRICS = (
    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}},
)


def _request(pod: Object, name: str, container: str) -> float:
    """What the pod (or one container of it) requests, in thousandths. ValueError when a container requests nothing."""
    total = 0
    for each in get_in(pod, "spec", "containers", default=[]):
        if container not in ("", each["name"]):
            continue
        request = get_in(each, "resources", "requests", name)
        if request is None:
            raise ValueError(f"missing request for {name} in container {each['name']} of Pod {name_of(pod)}")
        total += milli_value(request)
    return float(total)
