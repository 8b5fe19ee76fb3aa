"""DefaultBinder: the core/v1 Binding that tells the API server where a pod goes."""

from typing import Any, ClassVar

from controlplane.scheduler.podinfo import PodInfo


class DefaultBinder:
    """Posted to pods/<name>/binding; the uid keeps it from a later pod of the same name."""

    name: ClassVar[str] = "DefaultBinder"

    def binding(self, pod: PodInfo, node_name: str) -> dict[str, Any]:
        """The request body."""
        return {
            "apiVersion": "v1",
            "kind": "Binding",
            "metadata": {"namespace": pod.namespace, "name": pod.name, "uid": pod.uid},
            "target": {"apiVersion": "v1", "kind": "Node", "name": node_name},
        }
