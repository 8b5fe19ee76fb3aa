"""The arithmetic of horizontal pod autoscaling, as Kubernetes does it: pure.

replicas_for(...)   usage of pods -> replicas, with care for pods that are not ready or not measured
Behavior            how fast and how eagerly to follow a recommendation
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from typing import Any

__all__ = ["Behavior", "Memory", "Rules", "limited", "replicas_for", "stabilized"]

Object = dict[str, Any]

DEFAULT_UP = {"Percent": (100, 15), "Pods": (4, 15)}
DEFAULT_DOWN = {"Percent": (100, 15)}


@dataclass(frozen=True, slots=True)
class Rules:
    """One direction: policies as (type, value, period seconds), which of them counts, and the window (seconds)."""

    policies: tuple[tuple[str, int, int], ...]
    select: str
    window_seconds: float
    tolerance: float


@dataclass(frozen=True, slots=True)
class Behavior:
    """Both directions."""

    up: Rules
    down: Rules

    @classmethod
    def of(cls, behavior: Object | None, down_window_seconds: float, tolerance: float) -> Behavior:
        """From `spec.behavior`, with Kubernetes' defaults where it is silent."""
        behavior = behavior or {}
        return cls(
            _rules(behavior.get("scaleUp") or {}, DEFAULT_UP, 0.0, tolerance),
            _rules(behavior.get("scaleDown") or {}, DEFAULT_DOWN, down_window_seconds, tolerance),
        )


@dataclass(slots=True)
class Memory:
    """What is remembered of one autoscaler: (seconds, replicas recommended) and (seconds, change made)."""

    recommendations: list[tuple[float, int]] = field(default_factory=list)
    changes: list[tuple[float, int]] = field(default_factory=list)

    def forget(self, before: float) -> None:
        """Drop what is older."""
        self.recommendations = [entry for entry in self.recommendations if entry[0] >= before]
        self.changes = [entry for entry in self.changes if entry[0] >= before]


def replicas_for(
    current: int,
    target: float,
    usage: Mapping[str, float],
    base: Mapping[str, float],
    missing: Set[str],
    unready: Set[str],
    *,
    tolerance_up: float,
    tolerance_down: float,
    fallback: float,
) -> tuple[int, float]:
    """(replicas, ratio of measured to wanted usage).

    `usage` and `base` are by pod: what it uses, and what 1.0 of `target` means for it (its request; 1 for average
    values). `missing` pods have no measurement, `unready` ones count as idle when there is more to do. `fallback`: the
    usage, in the unit of `target`, that a missing pod is thought to have when there is less to do.
    ValueError when there is nothing to go by.
    """
    measured = {pod: value for pod, value in usage.items() if pod not in unready and pod not in missing}
    if not measured:
        raise ValueError("did not receive metrics for targeted pods (pods might be unready)")
    ratio = _ratio(measured, base, target)
    up_with_unready = bool(unready) and ratio > 1
    if not up_with_unready and not missing:
        if _within(ratio, tolerance_up, tolerance_down):
            return current, ratio
        return math.ceil(round(ratio * len(measured), 9)), ratio
    assumed = dict(measured)
    if ratio < 1:
        assumed |= {pod: base[pod] * fallback for pod in missing}
    elif ratio > 1:
        assumed |= dict.fromkeys(missing, 0.0)
    if up_with_unready:
        assumed |= dict.fromkeys(unready, 0.0)
    careful = _ratio(assumed, base, target)
    if _within(careful, tolerance_up, tolerance_down) or (ratio < 1 < careful) or (careful < 1 < ratio):
        return current, ratio  # what is not known could turn the decision round
    wanted = math.ceil(round(careful * len(assumed), 9))
    if (careful < 1 and wanted > current) or (careful > 1 and wanted < current):
        return current, ratio
    return wanted, ratio


def stabilized(behavior: Behavior, memory: Memory, current: int, wanted: int, now: float) -> tuple[int, str]:
    """(replicas, "" or the reason that held it back): the gentlest of what was recommended within the windows."""
    up = [replicas for at, replicas in memory.recommendations if at >= now - behavior.up.window_seconds]
    down = [replicas for at, replicas in memory.recommendations if at >= now - behavior.down.window_seconds]
    lowest, highest = min([wanted, *up]), max([wanted, *down])
    result = current
    if result < lowest:
        result = lowest
    if result > highest:
        result = highest
    if result == wanted:
        return result, ""
    return result, "ScaleUpStabilized" if wanted > result else "ScaleDownStabilized"


def limited(
    behavior: Behavior, memory: Memory, current: int, wanted: int, minimum: int, maximum: int, now: float
) -> tuple[int, str]:
    """(replicas, "" or the reason): within minimum and maximum, and no faster than the policies allow."""
    if wanted > current:
        limit = max(current, _up_limit(behavior.up, memory, current, now))
        ceiling = min(maximum, limit)
        if wanted > ceiling:
            return ceiling, "TooManyReplicas" if maximum <= limit else "ScaleUpLimit"
    elif wanted < current:
        limit = min(current, _down_limit(behavior.down, memory, current, now))
        floor = max(minimum, limit)
        if wanted < floor:
            return floor, "TooFewReplicas" if minimum >= limit else "ScaleDownLimit"
    if wanted > maximum:
        return maximum, "TooManyReplicas"
    if wanted < minimum:
        return minimum, "TooFewReplicas"
    return wanted, ""


def _rules(given: Object, default: Mapping[str, tuple[int, int]], window: float, tolerance: float) -> Rules:
    policies = tuple(
        (entry["type"], int(entry["value"]), int(entry["periodSeconds"])) for entry in given.get("policies") or ()
    )
    policies = policies or tuple((kind, value, period) for kind, (value, period) in default.items())
    seconds = given.get("stabilizationWindowSeconds")
    own = given.get("tolerance")
    return Rules(
        policies,
        given.get("selectPolicy") or "Max",
        float(window if seconds is None else seconds),
        float(own) if isinstance(own, int | float) else tolerance,
    )


def _ratio(usage: Mapping[str, float], base: Mapping[str, float], target: float) -> float:
    total = sum(base[pod] for pod in usage)
    if total <= 0:
        raise ValueError("no metrics returned matched known pods")
    return sum(usage.values()) / total / target


def _within(ratio: float, up: float, down: float) -> bool:
    return 1.0 - down <= ratio <= 1.0 + up


def _up_limit(rules: Rules, memory: Memory, current: int, now: float) -> int:
    if rules.select == "Disabled":
        return current
    limits: list[int] = []
    for kind, value, period in rules.policies:
        start = current - sum(change for at, change in memory.changes if change > 0 and at > now - period)
        start -= sum(change for at, change in memory.changes if change < 0 and at > now - period)
        limits.append(start + value if kind == "Pods" else math.ceil(start * (1 + value / 100)))
    return _selected(rules, limits, most=max)


def _down_limit(rules: Rules, memory: Memory, current: int, now: float) -> int:
    if rules.select == "Disabled":
        return current
    limits: list[int] = []
    for kind, value, period in rules.policies:
        start = current - sum(change for at, change in memory.changes if at > now - period)
        limits.append(start - value if kind == "Pods" else int(start * (1 - value / 100)))
    return _selected(rules, limits, most=min)


def _selected(rules: Rules, limits: Sequence[int], most: Any) -> int:
    least = max if most is min else min
    found: int = least(limits) if rules.select == "Min" else most(limits)
    return found
