"""Events, of both groups."""

from datetime import datetime
from typing import Any, Final

from controlplane.apiserver.tables.printer import UNKNOWN, Column, Object, Printer, since
from controlplane.objects.meta import get_in, name_of


def _target(event: Object) -> tuple[str, str]:
    """(kind/name, field path) of what the event is about."""
    about = event.get("involvedObject") or event.get("regarding") or {}
    kind, name = (about.get("kind") or "").lower(), about.get("name") or ""
    return f"{kind}/{name}" if name else kind, about.get("fieldPath") or ""


def _source(event: Object) -> str:
    source = event.get("source") or event.get("deprecatedSource") or {}
    component = source.get("component") or event.get("reportingComponent") or event.get("reportingController") or ""
    host = source.get("host") or ""
    return f"{component}, {host}" if host else component


def _cells(event: Object, now: datetime) -> list[Any]:
    began = event.get("firstTimestamp") or event.get("deprecatedFirstTimestamp") or event.get("eventTime")
    first = since(began, now, UNKNOWN)
    last = since(event.get("lastTimestamp") or event.get("deprecatedLastTimestamp"), now, first)
    count = event.get("count") or event.get("deprecatedCount") or 1
    if event.get("series"):
        last = since(get_in(event, "series", "lastObservedTime"), now, last)
        count = get_in(event, "series", "count", default=count)
    target, field_path = _target(event)
    words = (event.get("message") or event.get("note") or "").strip()
    return [
        last, event.get("type") or "", event.get("reason") or "", target, field_path, _source(event), words, first, count,
        name_of(event),
    ]  # fmt: skip


_EVENTS: Final = Printer(
    (
        Column("Last Seen"),
        Column("Type"),
        Column("Reason"),
        Column("Object"),
        Column("Subobject", priority=1),
        Column("Source", priority=1),
        Column("Message"),
        Column("First Seen", priority=1),
        Column("Count", priority=1),
        Column("Name", priority=1),
    ),
    _cells,
    name_first=False,
)
PRINTERS: Final = {("", "events"): _EVENTS, ("events.k8s.io", "events"): _EVENTS}
