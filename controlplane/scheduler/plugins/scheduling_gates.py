"""SchedulingGates: a pod with `spec.schedulingGates` does not enter the queue until all of them are removed."""

from controlplane.scheduler.cluster_events import ClusterChange
from controlplane.scheduler.framework import Plugin
from controlplane.scheduler.podinfo import PodInfo


class SchedulingGates(Plugin):
    """KEP-3521."""

    name = "SchedulingGates"
    helped_by = ClusterChange.POD_ITSELF

    def holds_back(self, pod: PodInfo) -> str:
        """Named gates, as in Kubernetes' words."""
        return f"waiting for scheduling gates: [{' '.join(pod.scheduling_gates)}]" if pod.scheduling_gates else ""
