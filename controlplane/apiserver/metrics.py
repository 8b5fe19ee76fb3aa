"""What the server counts of itself, under kube-apiserver's names; served at /metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import generate_latest

if TYPE_CHECKING:
    from controlplane.apiserver.context import Context

_BUCKETS = (0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60)
_LABELS = ("verb", "group", "version", "resource", "subresource", "scope")
MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

_Key = tuple[str, str, str, str, str, str]


class Metrics:
    """One registry a server; children are kept bound because `labels()` costs more than the count."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._requests = Counter(
            "apiserver_request", "Requests by verb, resource and code.", (*_LABELS, "code"), registry=self.registry
        )
        self._seconds = Histogram(
            "apiserver_request_duration_seconds",
            "How long requests took, watches excluded.",
            _LABELS,
            buckets=_BUCKETS,
            registry=self.registry,
        )
        inflight = Gauge(
            "apiserver_current_inflight_requests", "Requests being served.", ("request_kind",), registry=self.registry
        )
        self.reading = inflight.labels("readOnly")
        self.mutating = inflight.labels("mutating")
        self._longrunning = Gauge(
            "apiserver_longrunning_requests", "Watches and other streams.", _LABELS, registry=self.registry
        )
        self._objects = Gauge(
            "apiserver_storage_objects", "Objects in the open watch caches.", ("resource",), registry=self.registry
        )
        self._counts: dict[tuple[_Key, int], Counter] = {}
        self._timers: dict[_Key, Histogram] = {}

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
        count = self._counts.get((key, code))
        if count is None:
            count = self._counts[key, code] = self._requests.labels(*key, code)
        count.inc()
        if context.info.verb != "watch":
            timer = self._timers.get(key)
            if timer is None:
                timer = self._timers[key] = self._seconds.labels(*key)
            timer.observe(seconds)

    def longrunning(self, context: Context) -> Gauge:
        """The gauge of open streams like this request."""
        return self._longrunning.labels(*self._key(context))

    def render(self, objects: Mapping[str, int]) -> bytes:
        """The text that /metrics answers."""
        for resource, count in objects.items():
            self._objects.labels(resource).set(count)
        return generate_latest(self.registry)
