"""The slow, obvious scheduler: one node at a time, straight from the API objects. The columns must say the same."""

from dataclasses import dataclass, field
from math import floor
from typing import Any

from controlplane.objects.quantity import milli_value, units
from controlplane.objects.taints import HARD_EFFECTS, is_tolerated, preferred_score, selector_matches, term_matches

Object = dict[str, Any]


def requests_of(pod: Object, cpu: int = 0, memory: int = 0) -> dict[str, int]:
    """Plain containers only; `cpu` and `memory` are what an unstated request counts as."""
    total: dict[str, int] = {}
    for container in pod["spec"]["containers"]:
        stated = container.get("resources", {}).get("requests", {})
        for name in {"cpu", "memory", *stated}:
            if name in stated:
                amount = milli_value(stated[name]) if name == "cpu" else units(stated[name])
            else:
                amount = {"cpu": cpu, "memory": memory}[name]
            total[name] = total.get(name, 0) + amount
    return total


def allocatable_of(node: Object, name: str) -> int:
    quantity = node["status"]["allocatable"].get(name, "0")
    return milli_value(quantity) if name == "cpu" else units(quantity)


@dataclass
class Twin:
    nodes: list[Object]
    placed: list[Object] = field(default_factory=list)

    def on(self, node: Object) -> list[Object]:
        return [pod for pod in self.placed if pod["spec"].get("nodeName") == node["metadata"]["name"]]

    def used(self, node: Object, name: str) -> int:
        return sum(requests_of(pod).get(name, 0) for pod in self.on(node))

    def used_for_scoring(self, node: Object, name: str) -> int:
        return sum(requests_of(pod, 100, 200 << 20)[name] for pod in self.on(node))

    def refusals(self, pod: Object, node: Object) -> tuple[str, ...]:
        """Why the node cannot take the pod: the reasons of the first rule that refuses."""
        spec, name = pod["spec"], node["metadata"]["name"]
        taints = node["spec"].get("taints", [])
        tolerations = spec.get("tolerations", [])
        labels = node["metadata"].get("labels", {})
        cordoned = {"key": "node.kubernetes.io/unschedulable", "effect": "NoSchedule"}
        if node["spec"].get("unschedulable") and not is_tolerated(cordoned, tolerations):
            return ("node(s) were unschedulable",)
        for taint in taints:
            if taint["effect"] in HARD_EFFECTS and not is_tolerated(taint, tolerations):
                return (f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}",)
        required = self._node_affinity(pod).get("requiredDuringSchedulingIgnoredDuringExecution")
        wanted = spec.get("nodeSelector", {})
        if any(labels.get(key) != value for key, value in wanted.items()) or not selector_matches(
            required, labels, name
        ):
            return ("node(s) didn't match Pod's node affinity/selector",)
        if self._port_conflict(pod, node):
            return ("node(s) didn't have free ports for the requested pod ports",)
        short = []
        if len(self.on(node)) + 1 > allocatable_of(node, "pods"):
            short.append("Too many pods")
        for resource, amount in requests_of(pod).items():
            if amount and self.used(node, resource) + amount > allocatable_of(node, resource):
                short.append(f"Insufficient {resource}")
        return tuple(sorted(short))

    def _port_conflict(self, pod: Object, node: Object) -> bool:
        def ports(obj: Object) -> list[Object]:
            return [port for c in obj["spec"]["containers"] for port in c.get("ports", ()) if port.get("hostPort")]

        for mine in ports(pod):
            for other in self.on(node):
                for theirs in ports(other):
                    addresses = {mine.get("hostIP", "0.0.0.0"), theirs.get("hostIP", "0.0.0.0")}
                    same_address = len(addresses) == 1 or "0.0.0.0" in addresses
                    same_protocol = mine.get("protocol", "TCP") == theirs.get("protocol", "TCP")
                    if same_address and same_protocol and mine["hostPort"] == theirs["hostPort"]:
                        return True
        return False

    @staticmethod
    def _node_affinity(pod: Object) -> Object:
        affinity: Object = pod["spec"].get("affinity", {}).get("nodeAffinity", {})
        return affinity

    def scores(self, pod: Object) -> dict[str, int]:
        """node -> total score, for the nodes that fit."""
        feasible = [node for node in self.nodes if not self.refusals(pod, node)]
        soft = {}
        preferred = {}
        for node in feasible:
            name = node["metadata"]["name"]
            soft[name] = sum(
                taint["effect"] not in HARD_EFFECTS and not is_tolerated(taint, pod["spec"].get("tolerations", []))
                for taint in node["spec"].get("taints", [])
            )
            preferred[name] = sum(
                entry["weight"]
                for entry in self._node_affinity(pod).get("preferredDuringSchedulingIgnoredDuringExecution", ())
                if term_matches(entry["preference"], node["metadata"].get("labels", {}), name)
            )
            assert preferred[name] == preferred_score(pod, node)
        totals = {}
        for node in feasible:
            name = node["metadata"]["name"]
            worst, best = max(soft.values()), max(preferred.values())
            taint_score = 100 - soft[name] * 100 // worst if worst else 100
            affinity_score = preferred[name] * 100 // best if best else 0
            totals[name] = 3 * taint_score + 2 * affinity_score + self._least(pod, node) + self._balance(pod, node)
        return totals

    def _least(self, pod: Object, node: Object) -> int:
        wanted = requests_of(pod, 100, 200 << 20)
        shares = []
        for name in ("cpu", "memory"):
            allocatable = allocatable_of(node, name)
            if allocatable:
                free = allocatable - self.used_for_scoring(node, name) - wanted[name]
                shares.append(max(free, 0) * 100 // allocatable)
        return sum(shares) // len(shares) if shares else 0

    def _balance(self, pod: Object, node: Object) -> int:
        wanted = requests_of(pod)
        if not wanted["cpu"] and not wanted["memory"]:
            return 0
        shares = []
        for name in ("cpu", "memory"):
            allocatable = allocatable_of(node, name)
            if allocatable:
                shares.append(min(1.0, (self.used(node, name) + wanted[name]) / allocatable))
        deviation = abs(shares[0] - shares[1]) / 2 if len(shares) == 2 else 0.0
        return floor((1 - deviation) * 100)
