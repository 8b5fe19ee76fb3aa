"""Columns against the twin that looks at one node at a time, in one sitting. `pytest -m benchmark -s` prints the ratio."""

import time
from collections.abc import Callable
from random import Random
from typing import Any

import pytest

from controlplane.scheduler.cluster import ClusterState
from controlplane.scheduler.framework import Framework
from controlplane.scheduler.plugins import DEFAULT_PROFILE
from controlplane.scheduler.podinfo import read_pod
from tests.controlplane.scheduler.twin import Twin

Object = dict[str, Any]
NODES = 1000
FRAMEWORK = Framework(DEFAULT_PROFILE)


def node(number: int) -> Object:
    labels = {"kubernetes.io/hostname": f"node-{number}", "topology.kubernetes.io/zone": "abc"[number % 3]}
    allocatable = {"cpu": "32", "memory": "64Gi", "pods": "110"}
    return {
        "metadata": {"name": f"node-{number}", "labels": labels},
        "spec": {},
        "status": {"allocatable": allocatable},
    }


def pod(number: int) -> Object:
    containers = [{"name": "c", "resources": {"requests": {"cpu": "100m", "memory": "128Mi"}}}]
    return {
        "metadata": {"name": f"pod-{number}", "namespace": "default", "uid": str(number)},
        "spec": {"containers": containers},
    }


def per_second(work: Callable[[], int]) -> float:
    started = time.perf_counter()
    return work() / (time.perf_counter() - started)


@pytest.mark.benchmark
def test_columns_decide_many_times_faster_than_a_loop_over_nodes() -> None:
    members = [node(number) for number in range(NODES)]
    state = ClusterState()
    for member in members:
        state.set_node(member)
    pods = [read_pod(pod(number)) for number in range(5000)]

    def by_columns() -> int:
        random = Random(1)
        for info in pods:
            state.assume(info, FRAMEWORK.decide(info, state.nodes, random).node)
        return len(pods)

    def by_twin() -> int:
        twin = Twin(members)
        for number in range(3):
            twin.scores(pod(number))
        return 3

    columns, twin = per_second(by_columns), per_second(by_twin)
    print(f"\n{NODES} nodes: {columns:.0f} decisions/s by columns, {twin:.1f} by the twin: {columns / twin:.0f} times")
    assert columns > 20 * twin
