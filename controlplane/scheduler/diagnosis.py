"""The words of a refusal, as Kubernetes says them in FailedScheduling events and the PodScheduled condition."""

from collections import Counter

import numpy as np

from controlplane.scheduler.framework import Decision
from controlplane.scheduler.podinfo import PodInfo

NO_NODES = "no nodes available to schedule pods"
PREEMPTION_USELESS = "Preemption is not helpful for scheduling"
PREEMPTION_NO_VICTIMS = "No preemption victims found for incoming pod"


def message(pod: PodInfo, decision: Decision) -> str:
    """Why no node fits: reasons counted over nodes and sorted as text, then what preemption could do about it."""
    total = decision.node_count
    if total == 0:
        return NO_NODES
    counted: Counter[str] = Counter()
    unresolvable = np.zeros(len(decision.alive), np.bool_)
    for entry in decision.rejections:
        counted[entry.rejection.reason] += int(np.count_nonzero(entry.rejection.rows))
        if not entry.rejection.resolvable:
            unresolvable |= entry.rejection.rows
    return f"{_histogram(total, counted)} preemption: {_preemption(pod, total, int(np.count_nonzero(unresolvable)))}"


def _preemption(pod: PodInfo, total: int, unresolvable: int) -> str:
    if (pod.raw.get("spec") or {}).get("preemptionPolicy") == "Never":
        return "not eligible due to preemptionPolicy=Never."
    return _histogram(total, Counter({PREEMPTION_USELESS: unresolvable, PREEMPTION_NO_VICTIMS: total - unresolvable}))


def _histogram(total: int, counted: Counter[str]) -> str:
    lines = sorted(f"{count} {reason}" for reason, count in counted.items() if count)
    return f"0/{total} nodes are available: {', '.join(lines)}."
