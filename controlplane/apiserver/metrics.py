"""What the server counts of itself, under kube-apiserver's names; served at /metrics.

Counting is plain addition: the server runs on one loop, and prometheus_client's locks would cost a get a tenth of its time.
Its form of the text is made from the numbers when somebody asks.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import TYPE_CHECKING, Final

from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

if TYPE_CHECKING:
    from prometheus_client import Metric

    from controlplane.apiserver.context import Context

_BOUNDS: Final = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_LABELS: Final = ("verb", "group", "version", "resource", "subresource", "scope")
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Key = tuple[str, str, str, str, str, str]


class Level:
    """A number that goes up and down."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0

    def inc(self) -> None:
        self.value += 1

    def dec(self) -> None:
        self.value -= 1


class _Series:
    """The requests of one kind: how many by code, and how long they took."""

    __slots__ = ("buckets", "by_code", "seconds")

    def __init__(self) -> None:
        self.by_code: dict[int, int] = {}
        self.buckets = [0] * (len(_BOUNDS) + 1)
        self.seconds = 0.0


class Metrics(Collector):
    """The numbers of one server."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._objects = Gauge(
            "apiserver_storage_objects", "Objects in the open watch caches.", ("resource",), registry=self.registry
        )
        self.reading = Level()
        self.mutating = Level()
        self._series: dict[_Key, _Series] = {}
        self._longrunning: dict[_Key, Level] = {}
        self.registry.register(self)

    @staticmethod
    def _key(context: Context) -> _Key:
        path = context.info.path
        scope = "resource" if path.name else ("namespace" if path.namespace else "cluster")
        return (context.info.verb.upper(), path.group, path.version, path.resource, path.subresource, scope)

    def observe(self, context: Context, code: int, seconds: float) -> None:
        """Count one answered request; `seconds` is what it took."""
        if not context.info.is_resource:
            return
        key = self._key(context)
        series = self._series.get(key)
        if series is None:
            series = self._series[key] = _Series()
        series.by_code[code] = series.by_code.get(code, 0) + 1
        if context.info.verb != "watch":
            series.buckets[bisect_left(_BOUNDS, seconds)] += 1
            series.seconds += seconds

    def longrunning(self, context: Context) -> Level:
        """The open streams like this request."""
        return self._longrunning.setdefault(self._key(context), Level())

    def collect(self) -> Iterator[Metric]:
        """The numbers as prometheus_client's families."""
        requests = CounterMetricFamily(
            "apiserver_request", "Requests by verb, resource and code.", labels=[*_LABELS, "code"]
        )
        seconds = HistogramMetricFamily(
            "apiserver_request_duration_seconds", "How long requests took, watches excluded.", labels=_LABELS
        )
        names = [*map(float, _BOUNDS), float("inf")]
        for key, series in self._series.items():
            for code, count in series.by_code.items():
                requests.add_metric([*key, str(code)], count)
            if any(series.buckets):
                buckets = [(_bound(name), float(count)) for name, count in zip(names, accumulate(series.buckets))]
                seconds.add_metric(key, buckets, series.seconds)
        inflight = GaugeMetricFamily(
            "apiserver_current_inflight_requests", "Requests being served.", labels=["request_kind"]
        )
        inflight.add_metric(["readOnly"], self.reading.value)
        inflight.add_metric(["mutating"], self.mutating.value)
        longrunning = GaugeMetricFamily("apiserver_longrunning_requests", "Watches and other streams.", labels=_LABELS)
        for key, level in self._longrunning.items():
            longrunning.add_metric(key, level.value)
        yield from (requests, seconds, inflight, longrunning)

    def render(self, objects: Mapping[str, int]) -> bytes:
        """The text that /metrics answers."""
        for resource, count in objects.items():
            self._objects.labels(resource).set(count)
        return generate_latest(self.registry)


def _bound(value: float) -> str:
    return "+Inf" if value == float("inf") else str(value)
