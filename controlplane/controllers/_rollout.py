"""How many replicas each ReplicaSet of a Deployment should have next: arithmetic over `Sizes`, as Kubernetes does it.

`Sizes` is one ReplicaSet reduced to numbers, in the order oldest first; results map its name to new replicas.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Limits", "Sizes", "new_replicas", "proportional", "resolve_limits", "scale_down_old"]


@dataclass(frozen=True, slots=True)
class Sizes:
    """One ReplicaSet. `maximum` is what its annotation remembers of the Deployment's replicas plus surge, or 0."""

    name: str
    replicas: int
    available: int = 0
    maximum: int = 0


@dataclass(frozen=True, slots=True)
class Limits:
    """What a rolling update may do, in pods."""

    replicas: int
    surge: int
    unavailable: int

    @property
    def maximum(self) -> int:
        return self.replicas + self.surge

    @property
    def minimum_available(self) -> int:
        return self.replicas - self.unavailable


def resolve_limits(replicas: int, surge: Any, unavailable: Any, *, rolling: bool) -> Limits:
    """From the fields of the strategy: numbers or percentages; surge rounds up, unavailable down, and never both 0."""
    if not rolling or replicas == 0:
        return Limits(replicas, _scaled(surge, replicas, math.ceil) if rolling else 0, 0)
    most_surge = _scaled(surge, replicas, math.ceil)
    most_unavailable = _scaled(unavailable, replicas, math.floor)
    if most_surge == 0 and most_unavailable == 0:
        most_unavailable = 1  # else nothing could ever move
    return Limits(replicas, most_surge, min(most_unavailable, replicas))


def _scaled(value: Any, total: int, rounded: Any) -> int:
    if isinstance(value, str) and value.endswith("%"):
        # In whole numbers: 55% of 20 must not become 11.000000000000002.
        numerator = int(value[:-1]) * total
        return -(-numerator // 100) if rounded is math.ceil else numerator // 100
    return int(value)


def new_replicas(limits: Limits, total: int, new: int) -> int:
    """What the new ReplicaSet may grow to, with `total` pods wanted by all sets together and `new` by it."""
    if new >= limits.replicas:
        return limits.replicas
    return new + max(0, min(limits.maximum - total, limits.replicas - new))


def scale_down_old(limits: Limits, old: Sequence[Sizes], new: Sizes) -> dict[str, int]:
    """How far the old sets may go down now: first what is not available anyway, then as far as availability allows."""
    total = sum(size.replicas for size in old) + new.replicas
    new_unavailable = max(0, new.replicas - new.available)
    budget = total - limits.minimum_available - new_unavailable
    if budget <= 0 or not any(size.replicas for size in old):
        return {}
    left: list[Sizes] = []
    for size in old:
        dead = min(budget, max(0, size.replicas - size.available))
        budget -= dead
        left.append(replace(size, replicas=size.replicas - dead))
    spare = sum(size.available for size in old) + new.available - limits.minimum_available
    result: dict[str, int] = {}
    for before, size in zip(old, left):
        down = min(size.replicas, max(0, spare))
        spare -= down
        if size.replicas - down != before.replicas:
            result[size.name] = size.replicas - down
    return result


def proportional(limits: Limits, sets: Sequence[Sizes], observed_replicas: int) -> dict[str, int]:
    """Spread a change of the Deployment's replicas in the middle of a rollout over all active sets by their sizes.

    `sets` are the active ones, oldest first; `observed_replicas` is the Deployment's status.replicas, used where a set
    has no memory of the former maximum.
    """
    allowed = limits.maximum if limits.replicas > 0 else 0
    change = allowed - sum(size.replicas for size in sets)
    newest_first = list(reversed(sets)) if change > 0 else list(sets)
    ordered = sorted(newest_first, key=lambda size: -size.replicas)  # stable: ties stay in the order of age
    done = 0
    result: dict[str, int] = {}
    for size in ordered:
        share = _share(limits, size, observed_replicas)
        rest = change - done
        share = min(share, rest) if change > 0 else max(share, rest)
        if size.replicas == 0 or change in (0, done):
            share = 0
        done += share
        result[size.name] = size.replicas + share
    rest = change - done  # of rounding: the largest takes it, and the next ones what it cannot give
    for size in ordered:
        moved = max(rest, -result[size.name])
        result[size.name] += moved
        rest -= moved
    return result


def _share(limits: Limits, size: Sizes, observed_replicas: int) -> int:
    if limits.replicas == 0:
        return -size.replicas
    former = size.maximum or observed_replicas
    if former <= 0:
        return 0
    # Half away from zero, as Go's math.Round; the numbers are not negative.
    return int(size.replicas * limits.maximum / former + 0.5) - size.replicas
