"""The autoscaler: its arithmetic against worked examples and promises, and the whole on a fake API with fake meters."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.controllers import deployment, replicaset
from controlplane.controllers._scaling import Behavior, Memory, limited, replicas_for, stabilized
from controlplane.controllers._usage import parse
from controlplane.controllers.config import ControllerManagerConfig
from controlplane.controllers.horizontal_pod_autoscaler import HorizontalPodAutoscaler
from controlplane.machinery.client import Response
from controlplane.machinery.config import ClientConfig
from controlplane.objects.kinds import DEPLOYMENTS, HORIZONTAL_POD_AUTOSCALERS, PODS
from controlplane.objects.meta import get_in
from tests.controlplane.controllers.world import World, conditions

Object = dict[str, Any]


def ask(usage: list[float], current: int, missing: int = 0, unready: int = 0, target: float = 0.5) -> int:
    """Replicas for pods that request 1000 each."""
    by_pod = {f"p{number}": value for number, value in enumerate(usage)}
    lost = {f"m{number}" for number in range(missing)}
    young = {f"u{number}" for number in range(unready)}
    base = dict.fromkeys([*by_pod, *lost, *young], 1000.0)
    fallback = max(1.0, target)
    replicas, _ = replicas_for(
        current, target, by_pod, base, lost, young, tolerance_up=0.1, tolerance_down=0.1, fallback=fallback
    )
    return replicas


@pytest.mark.parametrize(
    ("usage", "current", "extra", "expected"),
    [
        ([500, 500], 2, {}, 2),
        ([1000, 1000], 2, {}, 4),
        ([540, 540], 2, {}, 2),  # within the tolerance
        ([560, 560], 2, {}, 3),
        ([100, 100, 100], 3, {}, 1),
        ([900, 900], 3, {"missing": 1}, 4),  # a missing pod counts as idle when growing: 1800 / 3 / 500
        ([100, 100], 3, {"missing": 1}, 3),  # and as fully busy when shrinking: 1200 / 3 / 500
        ([900], 3, {"unready": 2}, 3),  # pods that are starting would turn it round
        ([2000], 2, {"unready": 1}, 4),
    ],
)
def test_worked_examples(usage: list[float], current: int, extra: Object, expected: int) -> None:
    assert ask(usage, current, **extra) == expected


def test_without_any_measurement_there_is_nothing_to_go_by() -> None:
    with pytest.raises(ValueError, match="did not receive metrics"):
        ask([], 2, missing=2)


@given(st.lists(st.floats(0, 3000), min_size=1, max_size=8), st.integers(0, 4), st.integers(0, 4))
def test_what_is_not_known_never_turns_a_decision_round(usage: list[float], missing: int, unready: int) -> None:
    current = len(usage) + missing + unready
    certain = ask(usage, len(usage))
    careful = ask(usage, current, missing, unready)
    mean = sum(usage) / len(usage) / 500
    assert careful >= current if mean > 1.1 else careful <= current
    assert certain >= 0


def test_by_default_it_grows_at_once_and_shrinks_to_the_highest_wish_of_five_minutes() -> None:
    behavior = Behavior.of(None, 300, 0.1)
    memory = Memory(recommendations=[(0.0, 8), (100.0, 5)])
    assert stabilized(behavior, memory, 8, 2, 200.0) == (8, "ScaleDownStabilized")
    assert stabilized(behavior, memory, 8, 2, 350.0) == (5, "ScaleDownStabilized")
    assert stabilized(behavior, memory, 8, 2, 401.0) == (2, "")
    assert stabilized(behavior, memory, 8, 12, 200.0) == (12, "")


def test_policies_bound_the_speed_and_the_bounds_the_size() -> None:
    default = Behavior.of(None, 300, 0.1)
    assert limited(default, Memory(), 1, 100, 1, 50, 0.0) == (5, "ScaleUpLimit")  # four pods in 15 s
    assert limited(default, Memory(), 10, 100, 1, 50, 0.0) == (20, "ScaleUpLimit")  # or twice as many
    assert limited(default, Memory(changes=[(0.0, 10)]), 20, 100, 1, 50, 10.0) == (20, "ScaleUpLimit")
    assert limited(default, Memory(changes=[(0.0, 10)]), 20, 100, 1, 50, 16.0) == (40, "ScaleUpLimit")
    assert limited(default, Memory(), 30, 100, 1, 50, 0.0) == (50, "TooManyReplicas")
    assert limited(default, Memory(), 10, 0, 2, 50, 0.0) == (2, "TooFewReplicas")
    slow = {"scaleDown": {"policies": [{"type": "Pods", "value": 2, "periodSeconds": 60}]}}
    assert limited(Behavior.of(slow, 300, 0.1), Memory(), 10, 1, 1, 50, 0.0) == (8, "ScaleDownLimit")
    never = {"scaleDown": {"selectPolicy": "Disabled"}}
    assert limited(Behavior.of(never, 300, 0.1), Memory(), 10, 1, 1, 50, 0.0) == (10, "ScaleDownLimit")


def test_prometheus_text_is_read_with_and_without_time_stamps() -> None:
    text = (
        "# HELP container_cpu_usage_seconds_total x\n# TYPE container_cpu_usage_seconds_total counter\n"
        'container_cpu_usage_seconds_total{container="c",namespace="ns",pod="p"} 12.5 1700000000500\n'
        'container_memory_working_set_bytes{container="c",namespace="ns",pod="p"} 1e+06\n'
        'pod_cpu_usage_seconds_total{namespace="ns",pod="p"} 13\nscrape_error 0\n'
    )
    assert parse(text) == ({("ns", "p", "c"): (12.5, 1700000000.5)}, {("ns", "p", "c"): 1e6})


class Meters:
    """Each pod of node-0 uses `cores(pod)` of CPU; read as its kubelet would say it."""

    def __init__(self, w: World, total_cores: float) -> None:
        self.w, self.total_cores = w, total_cores
        self.used: dict[str, float] = {}

    async def run(self) -> None:
        while True:
            await asyncio.sleep(1)
            pods = [pod for pod in self.w.pods() if get_in(pod, "status", "phase") == "Running"]
            lines = []
            for pod in pods:
                name = pod["metadata"]["name"]
                self.used[name] = self.used.get(name, 0.0) + self.total_cores / len(pods)
                label = f'container="main",namespace="ns",pod="{name}"'
                lines.append(f"container_cpu_usage_seconds_total{{{label}}} {self.used[name]}\n")
            body = "".join(lines).encode()
            self.w.api.raw_answers["/api/v1/nodes/node-0/proxy/metrics/resource"] = Response(200, {}, body)


def autoscaled(scenario: Any, total_cores: float, **spec: Any) -> World:
    w = World()
    config = ControllerManagerConfig(client=ClientConfig("http://x"), hpa_cpu_initialization_period_seconds=0.0)
    w.reconcilers = (deployment, replicaset, HorizontalPodAutoscaler(config, w.clock))
    labels = {"app": "web"}
    container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": "1"}}}
    template = {"metadata": {"labels": labels}, "spec": {"containers": [container]}}
    body = {"replicas": 2, "selector": {"matchLabels": labels}, "template": template}
    w.api.put(DEPLOYMENTS, {"metadata": {"name": "web", "namespace": "ns"}, "spec": body})
    target = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    cpu = {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}}
    whole = {"scaleTargetRef": target, "minReplicas": 1, "maxReplicas": 10, "metrics": [cpu], **spec}
    w.api.put(HORIZONTAL_POD_AUTOSCALERS, {"metadata": {"name": "h", "namespace": "ns"}, "spec": whole})
    meters = Meters(w, total_cores)

    async def main(w: World) -> None:
        task = asyncio.ensure_future(meters.run())
        await scenario(w, meters)
        task.cancel()

    w.run(main)
    return w


def size(w: World) -> int:
    return int(w.api.find(DEPLOYMENTS, "web", "ns")["spec"]["replicas"])


def autoscaler(w: World) -> Object:
    return w.api.find(HORIZONTAL_POD_AUTOSCALERS, "h", "ns")


def test_it_follows_the_load_up_at_once_and_down_after_five_minutes() -> None:
    async def scenario(w: World, meters: Meters) -> None:
        await asyncio.sleep(120)
        assert size(w) == 4  # two cores at half a core each
        found = autoscaler(w)
        assert conditions(found) == {
            "AbleToScale": ("True", "ReadyForNewScale"),
            "ScalingActive": ("True", "ValidMetricFound"),
            "ScalingLimited": ("False", "DesiredWithinRange"),
        }
        assert found["status"]["currentMetrics"][0]["resource"]["current"] == {
            "averageUtilization": 50,
            "averageValue": "500m",
        }
        assert w.events("SuccessfulRescale") == [
            "New size: 4; reason: cpu resource utilization (percentage of request) above target"
        ]
        meters.total_cores = 0.5
        await asyncio.sleep(240)
        assert size(w) == 4
        await asyncio.sleep(120)
        assert size(w) == 1

    autoscaled(scenario, 2.0)


def test_it_stays_within_its_bounds_and_says_so() -> None:
    async def scenario(w: World, meters: Meters) -> None:
        await asyncio.sleep(120)
        assert size(w) == 3
        assert conditions(autoscaler(w))["ScalingLimited"] == ("True", "TooManyReplicas")

    autoscaled(scenario, 8.0, maxReplicas=3)


def test_pods_without_requests_cannot_be_scaled_by_utilization_and_it_says_why() -> None:
    async def scenario(w: World, meters: Meters) -> None:
        for pod in w.pods():
            w.api.change(PODS, pod["metadata"]["name"], "ns", lambda obj: obj["spec"]["containers"][0].pop("resources"))
        w.api.change(
            DEPLOYMENTS,
            "web",
            "ns",
            lambda obj: obj["spec"]["template"]["spec"]["containers"][0].pop("resources"),
        )
        await asyncio.sleep(60)
        assert size(w) == 2
        assert conditions(autoscaler(w))["ScalingActive"] == ("False", "FailedGetResourceMetric")
        assert any("missing request for cpu in container main" in text for text in w.events("FailedGetResourceMetric"))

    autoscaled(scenario, 2.0)


def test_a_target_scaled_to_zero_is_left_alone() -> None:
    async def scenario(w: World, meters: Meters) -> None:
        w.api.change(DEPLOYMENTS, "web", "ns", lambda obj: obj["spec"].update(replicas=0))
        await asyncio.sleep(60)
        assert size(w) == 0 and conditions(autoscaler(w))["ScalingActive"] == ("False", "ScalingDisabled")

    autoscaled(scenario, 2.0)


def test_a_target_that_is_not_there_is_told() -> None:
    async def scenario(w: World, meters: Meters) -> None:
        await asyncio.sleep(30)
        assert conditions(autoscaler(w))["AbleToScale"] == ("False", "FailedGetScale")

    autoscaled(scenario, 2.0, scaleTargetRef={"apiVersion": "apps/v1", "kind": "Deployment", "name": "absent"})
