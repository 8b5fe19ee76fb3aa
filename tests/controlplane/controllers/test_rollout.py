"""The arithmetic of rollouts: promises that hold for any sizes, and a dumb simulation that always arrives."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controlplane.controllers._rollout import (
    Limits,
    Sizes,
    new_replicas,
    proportional,
    resolve_limits,
    scale_down_old,
)


@pytest.mark.parametrize(
    ("replicas", "surge", "unavailable", "expected"),
    [
        (10, "25%", "25%", (3, 2)),
        (1, "25%", "25%", (1, 0)),
        (3, "0%", "0%", (0, 1)),
        (3, 0, 0, (0, 1)),
        (4, "30%", 10, (2, 4)),
        (20, "55%", 0, (11, 0)),
        (0, "25%", "25%", (0, 0)),
    ],
)
def test_surge_rounds_up_unavailable_rounds_down_and_both_are_never_zero(
    replicas: int, surge: Any, unavailable: Any, expected: tuple[int, int]
) -> None:
    limits = resolve_limits(replicas, surge, unavailable, rolling=True)
    assert (limits.surge, limits.unavailable) == expected


LIMITS = st.builds(
    lambda replicas, surge, unavailable: resolve_limits(replicas, surge, unavailable, rolling=True),
    st.integers(0, 12),
    st.integers(0, 5),
    st.integers(0, 5),
)


@st.composite
def sizes(draw: Any, name: str = "s") -> Sizes:
    replicas = draw(st.integers(0, 8))
    return Sizes(name, replicas, draw(st.integers(0, replicas)))


OLD = st.lists(sizes(), max_size=4).map(
    lambda found: [Sizes(f"old-{index}", size.replicas, size.available) for index, size in enumerate(found)]
)


@given(LIMITS, OLD, sizes("new"))
def test_scaling_down_takes_no_available_pod_beyond_what_may_be_unavailable(
    limits: Limits, old: list[Sizes], new: Sizes
) -> None:
    wanted = scale_down_old(limits, old, new)
    available = new.available + sum(size.available for size in old)
    left = new.available + sum(min(size.available, wanted.get(size.name, size.replicas)) for size in old)
    assert all(0 <= wanted[size.name] < size.replicas for size in old if size.name in wanted)
    assert left >= min(available, limits.minimum_available)


@given(LIMITS, OLD, sizes("new"))
def test_scaling_up_stays_below_the_maximum(limits: Limits, old: list[Sizes], new: Sizes) -> None:
    total = new.replicas + sum(size.replicas for size in old)
    wanted = new_replicas(limits, total, new.replicas)
    grown = total - new.replicas + wanted
    assert wanted <= limits.replicas and (grown <= limits.maximum or wanted <= new.replicas)


@given(st.integers(1, 12), st.integers(0, 5), st.integers(0, 5), st.integers(0, 12), st.data())
def test_a_rollout_always_arrives_whatever_becomes_available_when(
    replicas: int, surge: int, unavailable: int, start: int, data: Any
) -> None:
    limits = resolve_limits(replicas, surge, unavailable, rolling=True)
    old, new = Sizes("old", start, start), Sizes("new", 0, 0)
    for _ in range(200):
        if (old.replicas, new.replicas, new.available) == (0, replicas, replicas):
            return
        up = new_replicas(limits, old.replicas + new.replicas, new.replicas)
        if up != new.replicas:
            new = Sizes("new", up, min(new.available, up))
        else:
            down = scale_down_old(limits, [old], new).get("old", old.replicas)
            old = Sizes("old", down, min(old.available, down))
        ready = new.replicas if data.draw(st.booleans(), "all ready") else min(new.available + 1, new.replicas)
        new = Sizes("new", new.replicas, ready)
    raise AssertionError(f"stuck at {old} {new}")


@given(st.integers(0, 20), st.integers(0, 5), st.lists(st.integers(1, 9), min_size=2, max_size=4))
def test_a_resize_is_spread_without_a_remainder(replicas: int, surge: int, active: list[int]) -> None:
    limits = Limits(replicas, surge, 0)
    found = [Sizes(f"s{index}", size, size, sum(active)) for index, size in enumerate(active)]
    wanted = proportional(limits, found, sum(active))
    allowed = limits.maximum if replicas else 0
    assert all(size >= 0 for size in wanted.values())
    growing = allowed >= sum(active)
    assert all(wanted[size.name] >= size.replicas if growing else wanted[size.name] <= size.replicas for size in found)
    assert sum(wanted.values()) == allowed


def test_the_example_of_the_documentation() -> None:
    found = [Sizes("old", 8, 8, 13), Sizes("new", 5, 0, 13)]
    assert proportional(Limits(15, 3, 2), found, 13) == {"old": 11, "new": 7}
