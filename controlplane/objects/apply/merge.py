"""An applied configuration merged into a live object: what it says wins, what it does not say stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from controlplane.objects.apply import shape
from controlplane.objects.apply.compare import grouped, same
from controlplane.objects.schema import Schema


def merge(schema: Schema, live: Any, config: Any) -> Any:
    """A new value that shares what did not change; `live` itself when nothing did.  The configuration has no item twice;
    the live object may.  Raises shape.ElementError."""
    form = shape.form(schema, config)
    if form != shape.form(schema, live) or form == "leaf" or not config:
        return _kept(schema, live, config)
    if form == "map":
        return _maps(schema, live, config)
    return _lists(schema, live, config)


def _kept(schema: Schema, live: Any, config: Any) -> Any:
    """What replaces; only that nothing (null or empty), said of what is taken apart, changes nothing in it."""
    form = shape.form(schema, live)
    if not config and live and form != "leaf" and (config is None or shape.form(schema, config) == form):
        return live
    return live if same(live, config) else config


def _maps(schema: Schema, live: dict[str, Any], config: dict[str, Any]) -> dict[str, Any]:
    merged = live
    for name, wanted in config.items():
        if name in live:
            part = merge(shape.child(schema, name), live[name], wanted)
            if part is live[name]:
                continue
        else:
            part = wanted
        if merged is live:
            merged = dict(live)
        merged[name] = part
    return merged


def _lists(schema: Schema, live: list[Any], config: list[Any]) -> list[Any]:
    theirs, ours = grouped(schema, live), {shape.element(schema, item): item for item in config}

    def joined(element: str) -> Any:
        """Of what the live object has twice, the configuration makes one."""
        present = theirs.get(element, ())
        return merge(schema.items, present[0], ours[element]) if len(present) == 1 else ours[element]

    found = list(_ordered(schema, live, ours, theirs, joined))
    return live if len(found) == len(live) and all(one is other for one, other in zip(found, live)) else found


def _ordered(
    schema: Schema, live: list[Any], ours: dict[str, Any], theirs: dict[str, Any], joined: Callable[[str], Any]
) -> Iterator[Any]:
    """Items that the configuration has stand in its order; the others keep their place among what both have."""
    waiting = list(ours)
    shared = [element for element in waiting if element in theirs]
    done: set[str] = set()
    elements = [shape.element(schema, item) for item in live]
    at = 0
    while at < len(elements) or waiting:
        if at < len(elements):
            element = elements[at]
            if element not in ours:
                yield live[at]
                at += 1
                continue
            if waiting and element != waiting[0] and shared and element != shared[0]:
                at += 1  # both have it, and the configuration wants another of those before
                continue
            if element in done or (waiting and element == waiting[0]):
                at += 1
        if waiting:
            chosen = waiting.pop(0)
            yield joined(chosen)
            done.add(chosen)
            if shared and shared[0] == chosen:
                shared.pop(0)
