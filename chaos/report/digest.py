"""A history of any length, as so many marks as a person can look at. Times are seconds since the first call."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from chaos.history import History
from chaos.observed import Episode, Led
from chaos.outcome import Outcome
from chaos.transactions import Transaction

__all__ = ["MOST_LANES", "Digest", "digest", "label"]

MOST_MARKS = 8000
MOST_ODD_MARKS = 3000  # of them for what did not succeed
MOST_LANES = 48
BUCKETS = 240
OUTCOMES = [outcome.value for outcome in Outcome]


@dataclass(frozen=True, slots=True)
class Digest:
    """`start`: the first call on the history's own clock; `document`: what page.js draws."""

    start: float
    document: dict[str, Any]


def digest(history: History, transactions: Sequence[Transaction], involved: set[int]) -> Digest:
    """Return the marks; requests that are `involved` in a violation are always among them."""
    times = [each.called for each in transactions] + [each.injected for each in history.episodes]
    start = min(times, default=0.0)
    finished = [each.returned for each in transactions if each.outcome is not Outcome.UNKNOWN]
    end = max([*finished, *times, *(each.recovered or each.healed for each in history.episodes)], default=start)
    end = max(end, start + 0.001)
    shown = _chosen(transactions, involved)
    return Digest(start, {
        "seconds": round(end - start, 6),
        "outcomes": OUTCOMES,
        "lanes": _lanes(transactions, shown, start, end),
        "shown": len(shown),
        "total": len(transactions),
        "members": _members(history, start, end),
        "buckets": _buckets(transactions, start, end),
    })  # fmt: skip


def label(transaction: Transaction) -> str:
    """What was asked and answered, in as few words as possible."""
    parts = [f"{guard.target} {guard.key} {guard.comparison} {guard.operand}?" for guard in transaction.guards]
    if transaction.guards and transaction.succeeded is False:
        parts.append("no:")
    for place, step in enumerate(transaction.steps):
        name = step.key + (".." if step.end_key else "")
        if step.kind == "put":
            parts.append(f"{name} := {step.value}")
        elif step.kind == "delete":
            parts.append(f"delete {name}")
        elif place < len(transaction.answers):
            pairs = transaction.answers[place].pairs
            values = ", ".join(f"{pair.key}={pair.value}" if step.end_key else str(pair.value) for pair in pairs[:4])
            parts.append(f"{name} -> {values or 'nothing'}" + (" .." if len(pairs) > 4 else ""))
        else:
            parts.append(f"read {name}")
    return "; ".join(parts)


def _chosen(transactions: Sequence[Transaction], involved: set[int]) -> list[int]:
    """All where they are few; else those that are involved, those that went wrong, and some of the rest."""
    if len(transactions) <= MOST_MARKS:
        return list(range(len(transactions)))
    odd = [index for index, each in enumerate(transactions) if each.outcome is not Outcome.OK]
    chosen = {index for index in involved if index < len(transactions)} | set(_every(odd, MOST_ODD_MARKS))
    return sorted(chosen | set(_every(range(len(transactions)), MOST_MARKS - MOST_ODD_MARKS)))


def _every(items: Sequence[int], most: int) -> Sequence[int]:
    """Some, by chance but always the same: every n-th would show the same clients again and again."""
    return items if len(items) <= most else sorted(Random(most).sample(items, most))


def _lanes(transactions: Sequence[Transaction], shown: Sequence[int], start: float, end: float) -> list[dict[str, Any]]:
    """One a client; where there are too many, several clients share one."""
    clients = sorted({each.client for each in transactions})
    lane_of = {client: number % MOST_LANES for number, client in enumerate(clients)}
    names: dict[int, list[str]] = defaultdict(list)
    for client in clients:
        names[lane_of[client]].append(str(client))
    marks: dict[int, list[list[Any]]] = defaultdict(list)
    for index in shown:
        each = transactions[index]
        last = end if each.outcome is Outcome.UNKNOWN and each.returned > end else each.returned
        mark = [round(each.called - start, 6), round(last - start, 6), OUTCOMES.index(each.outcome), label(each)[:60]]
        marks[lane_of[each.client]].append(mark)
    return [
        {"name": f"client {names[lane][0]}" + (" .." if len(names[lane]) > 1 else ""), "marks": marks[lane]}
        for lane in sorted(names)
    ]


def _members(history: History, start: float, end: float) -> list[dict[str, Any]]:
    leads: dict[str, list[list[float]]] = defaultdict(list)
    for member, first, last, term in terms(history.led, end):
        leads[member].append([round(first - start, 6), round(last - start, 6), term])
    faults: dict[str, list[list[Any]]] = defaultdict(list)
    for episode in history.episodes:
        for victim in episode.victims or ("all",):
            faults[victim].append(_fault(episode, start))
    return [
        {"name": name, "led": leads.get(name, []), "faults": faults.get(name, [])}
        for name in sorted(leads.keys() | faults.keys())
    ]


def _fault(episode: Episode, start: float) -> list[Any]:
    recovered = None if episode.recovered is None else round(episode.recovered - start, 6)
    return [round(episode.injected - start, 6), round(episode.healed - start, 6), episode.fault, recovered]


def terms(led: Sequence[Led], end: float) -> list[tuple[str, float, float, int]]:
    """Return (member, from, until, term): from its first observation until somebody led in a later term."""
    first: dict[tuple[int, str], float] = {}
    for seen in sorted(led, key=lambda each: each.time):
        first.setdefault((seen.term, seen.member), seen.time)
    line = sorted((time, term, member) for (term, member), time in first.items())
    found = []
    for place, (time, term, member) in enumerate(line):
        until = next((later for later, next_term, _ in line[place + 1 :] if next_term > term), end)
        found.append((member, time, until, term))
    return found


def _buckets(transactions: Sequence[Transaction], start: float, end: float) -> dict[str, Any]:
    """Requests a second by outcome, and the latency of those that succeeded, in equal parts of the time."""
    width = (end - start) / BUCKETS
    counts = {outcome: [0] * BUCKETS for outcome in OUTCOMES}
    latencies: list[list[float]] = [[] for _ in range(BUCKETS)]
    for each in transactions:
        moment = each.called if each.outcome is Outcome.UNKNOWN else each.returned
        bucket = min(BUCKETS - 1, max(0, int((moment - start) / width)))
        counts[each.outcome.value][bucket] += 1
        if each.outcome is Outcome.OK:
            latencies[bucket].append(each.returned - each.called)
    for line in latencies:
        line.sort()
    return {
        "width": width,
        "rates": {outcome: [round(number / width, 2) for number in numbers] for outcome, numbers in counts.items()},
        "p50": [_part(bucket, 0.5) for bucket in latencies],
        "p99": [_part(bucket, 0.99) for bucket in latencies],
        "worst": [_part(bucket, 1.0) for bucket in latencies],
    }


def _part(ordered: Sequence[float], part: float) -> float | None:
    """Milliseconds; None where nothing succeeded."""
    return round(ordered[min(len(ordered) - 1, int(part * len(ordered)))] * 1000, 3) if ordered else None
