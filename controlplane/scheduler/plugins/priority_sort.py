"""PrioritySort: higher priority first; among equals, who came first."""

from typing import ClassVar

from controlplane.scheduler.podinfo import PodInfo


class PrioritySort:
    """The order of the active queue."""

    name: ClassVar[str] = "PrioritySort"

    def sort_key(self, pod: PodInfo, arrival: int) -> tuple[int, int]:
        """Smaller goes first."""
        return -pod.priority, arrival
