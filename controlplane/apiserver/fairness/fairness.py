"""Requests to flows, flows to levels, and the seats of a request."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from controlplane.apiserver.authn.user import User
from controlplane.apiserver.fairness import objects
from controlplane.apiserver.fairness.classify import Schema, compiled, in_order
from controlplane.apiserver.fairness.level import Level, Rejected, Seats, Settings, hand_of
from controlplane.apiserver.request import RequestInfo
from controlplane.objects import status

Object = dict[str, Any]

REMEMBERED_FLOWS: Final = 8192
OBJECTS_PER_SEAT: Final = 100  # of a list
MOST_LIST_SEATS: Final = 10
RETRY_AFTER_SECONDS: Final = 1
UNLIMITED: Final = frozenset({"exec", "attach", "portforward", "proxy", "log"})


class Flow:
    """Where requests of one kind go: schema, level, queues, and the headers that tell so."""

    __slots__ = ("dispatched", "distinguisher", "hand", "headers", "level", "schema")

    def __init__(self, schema: Schema, level: Level, distinguisher: str, totals: Totals) -> None:
        self.schema = schema
        self.level = level
        self.distinguisher = distinguisher
        settings = level.settings
        self.hand = hand_of(f"{schema.name}/{distinguisher}", settings.queues, settings.hand_size)
        self.headers: tuple[tuple[bytes, bytes], ...] = (
            (b"x-kubernetes-pf-flowschema-uid", schema.uid.encode()),
            (b"x-kubernetes-pf-prioritylevel-uid", settings.uid.encode()),
        )
        self.dispatched = totals.of(settings.name, schema.name)


class Totals:
    """What was let through and refused, by level and schema."""

    def __init__(self) -> None:
        self.dispatched: dict[tuple[str, str], list[int]] = {}
        self.rejected: dict[tuple[str, str, str], int] = {}

    def of(self, level: str, schema: str) -> list[int]:
        """A counter of one number, kept bound by the flow."""
        return self.dispatched.setdefault((level, schema), [0])

    def reject(self, level: str, schema: str, reason: str) -> None:
        key = (level, schema, reason)
        self.rejected[key] = self.rejected.get(key, 0) + 1


class Fairness(Collector):
    """One server's: `seats_in_all` is how many requests it serves at a time, `wait_seconds` how long one may wait."""

    def __init__(self, seats_in_all: int, wait_seconds: float) -> None:
        self._seats_in_all = seats_in_all
        self._wait_seconds = wait_seconds
        self._seats = Seats()
        self._schemas: tuple[Schema, ...] = ()
        self._flows: dict[tuple[Any, ...], Flow] = {}
        self.totals = Totals()
        self.levels: dict[str, Level] = {}
        self.configure((), ())

    def configure(self, levels: Iterable[Object], schemas: Iterable[Object]) -> None:
        """Take the objects of the cluster; the two mandatory levels and schemas are there in any case."""
        found = {each.name: each for each in map(Settings.of, (*objects.mandatory_levels(), *levels))}
        shares = sum(each.shares for each in found.values()) or 1
        for name, settings in found.items():
            level = self.levels.get(name) or self.levels.setdefault(name, Level(settings, self._seats))
            level.configure(settings, math.ceil(self._seats_in_all * settings.shares / shares))
        for name in [name for name in self.levels if name not in found]:
            self.levels[name].configure(Settings(name, shares=0), self._seats_in_all)  # what waits there may go
            del self.levels[name]
        self._seats.levels = list(self.levels.values())
        every = {each.name: each for each in map(compiled, (*objects.mandatory_schemas(), *schemas))}
        self._schemas = in_order(each for each in every.values() if each.level in self.levels)
        self._flows.clear()

    def flow(self, user: User, info: RequestInfo) -> Flow | None:
        """The flow of a request; None for one that needs no seat."""
        path = info.path
        if path.subresource in UNLIMITED:
            return None
        key = (
            (user.name, user.groups, info.verb, path.group, path.resource, path.subresource, path.namespace)
            if path.is_resource
            else (user.name, user.groups, info.verb, path.path)
        )
        found = self._flows.get(key)
        if found is None:
            if len(self._flows) >= REMEMBERED_FLOWS:
                self._flows.clear()
            found = self._flows[key] = self._classified(user, info)
        return found

    def _classified(self, user: User, info: RequestInfo) -> Flow:
        for schema in self._schemas:
            if schema.matches(user, info):
                break
        else:
            schema = self._schemas[-1]  # the one that catches all
        return Flow(schema, self.levels[schema.level], schema.flow(user, info), self.totals)

    async def wait(self, flow: Flow, seats: int) -> None:
        """Wait for seats that `try_enter` did not get; raises 429."""
        try:
            await flow.level.wait(flow.hand, seats, self._wait_seconds)
        except Rejected as error:
            self.totals.reject(flow.level.settings.name, flow.schema.name, error.reason)
            message = "Too many requests, please try again later."
            raise status.too_many_requests(message, RETRY_AFTER_SECONDS) from None

    def collect(self) -> Iterator[Metric]:
        """What /metrics tells, under kube-apiserver's names."""
        prefix, both = "apiserver_flowcontrol_", ("priority_level", "flow_schema")
        dispatched = CounterMetricFamily(f"{prefix}dispatched_requests", "Requests that got seats.", labels=both)
        for (level, schema), count in self.totals.dispatched.items():
            dispatched.add_metric((level, schema), count[0])
        rejected = CounterMetricFamily(f"{prefix}rejected_requests", "Refused.", labels=(*both, "reason"))
        for key, number in self.totals.rejected.items():
            rejected.add_metric(key, number)
        yield dispatched
        yield rejected
        gauges: tuple[tuple[str, str, Callable[[Level], int]], ...] = (
            ("nominal_limit_seats", "Seats that the level has.", lambda each: each.nominal),
            ("current_executing_seats", "Seats that are taken.", lambda each: each.executing),
            ("current_executing_requests", "Requests being served.", lambda each: each.requests),
            ("current_inqueue_requests", "Requests that wait.", lambda each: each.waiting),
        )
        for name, help_text, value in gauges:
            family = GaugeMetricFamily(prefix + name, help_text, labels=("priority_level",))
            for level_name, each in self.levels.items():
                family.add_metric((level_name,), value(each))
            yield family


def list_seats(count: int, limit: int) -> int:
    """How many seats a list of so many objects takes; `limit` 0: all of them."""
    count = min(count, limit) if limit else count
    return min(MOST_LIST_SEATS, max(1, -(-count // OBJECTS_PER_SEAT)))
