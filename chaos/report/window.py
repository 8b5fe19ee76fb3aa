"""A violation, as the few requests that show it and the arrows between them: where the arrows close, no order is left."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chaos.checkers import Verdicts, cycles, shrink
from chaos.checkers.wgl import Verdict, linearizable
from chaos.history import History, Operation, Outcome
from chaos.report.digest import label
from chaos.transactions import Transaction, of_operation

__all__ = ["Window", "windows"]

MOST_WINDOWS = 6
MOST_REQUESTS = 40
SENTENCES = {
    "rt": "had returned before the other was called",
    "ww": "wrote what the other overwrote",
    "wr": "wrote what the other read",
    "rw": "read what the other overwrote",
}


@dataclass(frozen=True, slots=True)
class Window:
    """`edges` among `transactions` by position; those of `circle` close it."""

    title: str
    text: str
    transactions: list[Transaction]
    edges: list[cycles.Edge]
    circle: list[cycles.Edge]

    def document(self) -> dict[str, Any]:
        """What page.js draws; times begin at the first call of the window."""
        start = min(each.called for each in self.transactions)
        finished = [each.returned for each in self.transactions if each.outcome is not Outcome.UNKNOWN]
        end = max([*finished, *(each.called for each in self.transactions)])
        in_circle = {(edge.before, edge.after, edge.why) for edge in self.circle}
        return {
            "title": self.title,
            "text": self.text,
            "seconds": max(end - start, 1e-6),
            "requests": [
                {
                    "client": each.client, "from": each.called - start, "to": min(each.returned, end) - start,
                    "outcome": each.outcome.value, "label": label(each), "revision": each.revision,
                }
                for each in self.transactions
            ],
            "edges": [
                {
                    "before": edge.before, "after": edge.after, "why": edge.why, "key": edge.key,
                    "inCircle": (edge.before, edge.after, edge.why) in in_circle,
                }
                for edge in self.edges
            ],
            "why": [
                f"{name(edge.before)} ({label(self.transactions[edge.before])}) {SENTENCES[edge.why]}: "
                f"{name(edge.after)} ({label(self.transactions[edge.after])})"
                for edge in self.circle
            ],
        }  # fmt: skip


def name(place: int) -> str:
    """A letter a request: A, B, .. Z, A1, .."""
    return chr(ord("A") + place % 26) + (str(place // 26) if place >= 26 else "")


def windows(history: History, transactions: Sequence[Transaction], verdicts: Verdicts) -> list[Window]:
    """Return one window per kind of violation that names requests, and per register that cannot be ordered."""
    found: list[Window] = []
    if verdicts.safety.get("registers"):
        found += _of_registers(history.operations)
    for checker, places in verdicts.involved.items():
        for text, involved in zip(verdicts.safety[checker], places):
            if len(found) >= MOST_WINDOWS:
                return found
            chosen = shrink.smallest_of_transactions(transactions, history.log, involved)[:MOST_REQUESTS]
            window = _window(checker, text, [transactions[index] for index in chosen])
            if chosen and all(window.transactions != other.transactions for other in found):
                found.append(window)
    return found


def _of_registers(operations: Sequence[Operation]) -> Iterator[Window]:
    keys: dict[str, list[Operation]] = defaultdict(list)
    for operation in operations:
        keys[operation.key].append(operation)
    for key, mine in list(keys.items()):
        if linearizable(mine) is Verdict.WRONG:
            smallest = shrink.smallest_of_register(mine)
            text = f"These {len(smallest)} of {len(mine)} operations on {key} cannot be ordered; without any of them they can."
            yield _window("registers", text, [of_operation(each) for each in smallest[:MOST_REQUESTS]])
            return


def _window(title: str, text: str, transactions: list[Transaction]) -> Window:
    transactions.sort(key=lambda each: (each.called, each.returned))
    graph: dict[int, list[cycles.Edge]] = defaultdict(list)
    edges = list(cycles.edges(transactions, (), []))
    times = [
        cycles.Edge(before, after, "rt")
        for before, first in enumerate(transactions)
        for after, second in enumerate(transactions)
        if first.outcome is Outcome.OK and first.returned < second.called
    ]
    for edge in edges + times:
        graph[edge.before].append(edge)
    circle: list[cycles.Edge] = []
    for group in cycles.groups(graph):
        _, circle = cycles.shortest_circle(group, graph, len(transactions))
        break
    shown = list(dict.fromkeys(edges + [edge for edge in circle if edge.why == "rt"]))
    return Window(title, text, transactions, shown, circle)
