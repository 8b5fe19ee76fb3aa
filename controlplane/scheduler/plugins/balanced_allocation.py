"""NodeResourcesBalancedAllocation: nodes whose cpu and memory would be used to a like share are better."""

import numpy as np

from controlplane.scheduler.columns import CPU_COLUMN, MEMORY_COLUMN, Integers, NodeColumns, Rows
from controlplane.scheduler.framework import MAX_SCORE, Plugin
from controlplane.scheduler.podinfo import PodInfo
from controlplane.scheduler.requests import CPU, MEMORY


class BalancedAllocation(Plugin):
    """Score = (1 - standard deviation of the two shares) * 100; for two values that is half their distance."""

    name = "NodeResourcesBalancedAllocation"
    weight = 1

    def score(self, pod: PodInfo, nodes: NodeColumns, feasible: Rows) -> Integers | None:
        """No opinion on pods that request neither: they would all go to the same node."""
        cpu, memory = pod.requests.get(CPU, 0), pod.requests.get(MEMORY, 0)
        if not cpu and not memory:
            return None
        cpu_allocatable = nodes.allocatable[CPU_COLUMN, : nodes.size]
        memory_allocatable = nodes.allocatable[MEMORY_COLUMN, : nodes.size]
        cpu_share = (nodes.requested[CPU_COLUMN, : nodes.size] + cpu) / np.maximum(cpu_allocatable, 1)
        memory_share = (nodes.requested[MEMORY_COLUMN, : nodes.size] + memory) / np.maximum(memory_allocatable, 1)
        deviation = np.abs(np.minimum(cpu_share, 1.0) - np.minimum(memory_share, 1.0)) / 2
        deviation[(cpu_allocatable == 0) | (memory_allocatable == 0)] = 0.0
        score: Integers = ((1.0 - deviation) * MAX_SCORE).astype(np.int64)
        return score
