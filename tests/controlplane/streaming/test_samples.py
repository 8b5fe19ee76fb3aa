"""What two readings of a kubelet say, and when a kubelet is read."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from controlplane.apiserver.nodemetrics.samples import NODE, Counters, Sample, covers, parse_sample, rates, usage
from controlplane.kubelet.metrics import make_reading, resource_metrics
from controlplane.kubelet.runtimes.port import ContainerKey, Usage
from controlplane.objects.quantity import parse

WEB = ("default", "web", "main")


def test_what_a_kubelet_writes_is_read() -> None:
    pod = {"metadata": {"uid": "u", "name": "web", "namespace": "default"}}
    used = {ContainerKey("u", "main"): Usage(1.5, 2048)}
    text = resource_metrics(make_reading([pod], used, Usage(1.0, 1024), datetime(2026, 1, 1, tzinfo=UTC)))
    assert parse_sample(text, 5.0) == Sample(5.0, {NODE: Counters(2.5, 3072), WEB: Counters(1.5, 2048)})


@given(st.text(max_size=200))
def test_any_text_is_a_sample(text: str) -> None:
    assert parse_sample(text, 1.0).at == 1.0


def test_a_rate_is_cpu_by_time_and_memory_is_the_newer() -> None:
    before, after = Sample(1.0, {WEB: Counters(2.0, 10)}), Sample(5.0, {WEB: Counters(3.0, 20)})
    assert covers(before, after)
    found = rates(before, after)[WEB]
    assert (found.cores, found.memory_bytes) == (0.25, 20)


def test_a_container_that_is_new_or_began_anew_has_no_rate_yet() -> None:
    before, after = Sample(1.0, {WEB: Counters(2.0, 10)}), Sample(2.0, {WEB: Counters(1.0, 20), NODE: Counters(5.0, 5)})
    assert not covers(before, after) and rates(before, after) == {}


def test_no_time_gives_no_rate() -> None:
    sample = Sample(1.0, {WEB: Counters(2.0, 10)})
    assert rates(sample, sample) == {}


@given(st.floats(0, 64), st.integers(0, 2**40))
def test_usage_is_in_quantities_that_clients_parse(cores: float, memory_bytes: int) -> None:
    found = usage(cores, memory_bytes)
    assert abs(parse(found["cpu"]).nanos - cores * 1e9) <= 1
    assert 0 <= memory_bytes - parse(found["memory"]).nanos // 10**9 < 1024
