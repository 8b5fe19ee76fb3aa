"""Cycles between transactions, as Adya names them: who wrote what another read, overwrote it, or missed it.

An edge says "comes before". The order of a key's versions is that of the modification revisions that readers were shown;
which transaction wrote a version is known by its unique value. No order of whole transactions is assumed.
    ww    wrote the version that the other's version of the key follows
    wr    wrote what the other read
    rw    read a version that the other overwrote
    rt    had returned before the other was called
A group in which everything comes before everything else cannot be ordered:
    G0         of ww (and rt) alone: writes are interleaved             G1c       with wr: information flows in a circle
    G-single   with one rw: a read missed a write that it must know     G2        with several: write skew
and without any cycle: G1a, a value was read that no one wrote or that was refused.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, zip_longest

from chaos.checkers.violation import Violation
from chaos.history import Logged, Outcome
from chaos.transactions import Transaction

__all__ = ["Edge", "cycles", "edges", "groups", "shortest_circle"]

MOST_STARTS = 200  # of a large group, so many nodes are tried


@dataclass(frozen=True, slots=True)
class Edge:
    """`before` comes before `after`; `why`: rt, ww, wr or rw, with the key where there is one."""

    before: int
    after: int
    why: str
    key: str = ""


@dataclass(frozen=True, slots=True)
class _Version:
    revision: int
    writer: int | None


@dataclass(frozen=True, slots=True)
class _Read:
    """`revision` 0: the key did not exist. `value` None: not told (a guard)."""

    reader: int
    key: str
    revision: int
    value: str | None


Graph = dict[int, list[Edge]]


def cycles(transactions: Sequence[Transaction], log: Sequence[Logged] = ()) -> list[Violation]:
    """Return a violation per group that cannot be ordered, each with a shortest circle of it.

    `log` only tells of versions that nobody read.
    """
    found: list[Violation] = []
    graph: Graph = defaultdict(list)
    for edge in edges(transactions, log, found):
        graph[edge.before].append(edge)
    for edge in _real_time(transactions, graph):
        graph[edge.before].append(edge)
    for group in groups(graph):
        name, circle = shortest_circle(group, graph, len(transactions))
        path = "; ".join(f"{edge.before} -{edge.why} {edge.key}-> {edge.after}" for edge in circle if edge.why != "rt")
        involved = sorted(
            {place for edge in circle for place in (edge.before, edge.after) if place < len(transactions)}
        )
        listed = ", ".join(map(str, involved))
        found.append(Violation(f"{name}: transactions {listed} come before each other ({path})", tuple(involved)))
    return found


def edges(transactions: Sequence[Transaction], log: Sequence[Logged], found: list[Violation]) -> Iterator[Edge]:
    """Yield ww, wr and rw edges; add G1a to `found`."""
    writers, refused = _writers(transactions)
    reads = list(_reads(transactions))
    versions = _versions(transactions, reads, log, writers)
    for read in reads:
        line = versions.get(read.key, [])
        place = bisect_left(line, read.revision, key=lambda version: version.revision)
        if read.revision:
            writer = line[place].writer
            if read.value is not None and (read.key, read.value) not in writers:
                why = "had been refused" if (read.key, read.value) in refused else "nobody wrote"
                text = f"G1a: transaction {read.reader} read {read.value!r} of {read.key}, which {why}"
                found.append(Violation(text, (read.reader,)))
            elif writer not in (None, read.reader):
                assert writer is not None
                yield Edge(writer, read.reader, "wr", read.key)
            place += 1
        while (
            place < len(line) and line[place].writer is None
        ):  # to be before a version is to be before all that follow it
            place += 1
        if place < len(line) and line[place].writer != read.reader:
            yield Edge(read.reader, line[place].writer or 0, "rw", read.key)
    for key, line in versions.items():
        for before, after in pairwise(version.writer for version in line if version.writer is not None):
            if before != after:
                yield Edge(before, after, "ww", key)


def _writers(transactions: Sequence[Transaction]) -> tuple[dict[tuple[str, str], int], set[tuple[str, str]]]:
    """Who put a value to a key, and which puts were refused."""
    writers: dict[tuple[str, str], int] = {}
    refused = set()
    for index, each in enumerate(transactions):
        for step in each.then + each.otherwise if each.succeeded is None else each.steps:
            if step.kind == "put" and each.outcome is Outcome.FAILED:
                refused.add((step.key, step.value))
            elif step.kind == "put":
                writers[step.key, step.value] = index
    return writers, refused


def _reads(transactions: Sequence[Transaction]) -> Iterator[_Read]:
    """What each transaction saw before its own writes. A key that did not exist counts where nobody deletes."""
    deleting = any(step.kind == "delete" for each in transactions for step in each.then + each.otherwise)
    for index, each in enumerate(transactions):
        if each.outcome is not Outcome.OK or each.is_serializable:
            continue
        mine: set[str] = set()
        for step, answer in zip(each.steps, each.answers):
            if step.revision:
                continue
            for pair in answer.pairs:
                if pair.mod_revision > 0 and pair.key not in mine:
                    yield _Read(index, pair.key, pair.mod_revision, None if step.keys_only else pair.value)
            is_absent = step.kind == "range" and not (step.end_key or answer.pairs or step.count_only)
            if is_absent and not deleting and step.key not in mine:
                yield _Read(index, step.key, 0, None)
            if step.kind == "put":
                mine.add(step.key)
        for guard in each.guards if each.succeeded else ():
            is_plain = guard.target == "mod" and guard.comparison == "=" and not guard.end_key
            if is_plain and isinstance(guard.operand, int) and (guard.operand or not deleting):
                yield _Read(index, guard.key, guard.operand, None)


def _versions(
    transactions: Sequence[Transaction],
    reads: Sequence[_Read],
    log: Sequence[Logged],
    writers: dict[tuple[str, str], int],
) -> dict[str, list[_Version]]:
    """The versions of each key in order; their writers, where known by the value that was read or logged."""
    known: dict[str, dict[int, int | None]] = defaultdict(dict)
    for read in reads:
        if read.revision:
            writer = writers.get((read.key, read.value)) if read.value is not None else None
            known[read.key][read.revision] = known[read.key].get(read.revision) if writer is None else writer
    for logged in log:
        writer = None if logged.value is None else writers.get((logged.key, logged.value))
        known[logged.key].setdefault(logged.revision, writer)
    for index, each in enumerate(transactions):
        if each.outcome is Outcome.OK:
            for step, answer in zip_longest(each.steps, each.answers):
                writes = step.kind == "put" or (
                    step.kind == "delete" and not step.end_key and answer and answer.count > 0
                )
                if writes and known[step.key].get(each.revision) is None:
                    known[step.key][each.revision] = index
    return {key: [_Version(*version) for version in sorted(found.items())] for key, found in known.items()}


def _real_time(transactions: Sequence[Transaction], graph: Graph) -> list[Edge]:
    """Edges of time by way of moments, nodes of their own, so that there are no more edges than twice the transactions."""
    concerned = set(graph) | {edge.after for following in graph.values() for edge in following}
    returns = sorted(
        (transactions[index].returned, index) for index in concerned if transactions[index].outcome is Outcome.OK
    )
    first = len(transactions)
    found = [Edge(first + place, first + place + 1, "rt") for place in range(len(returns) - 1)]
    found += [Edge(index, first + place, "rt") for place, (_, index) in enumerate(returns)]
    for index in concerned:
        place = bisect_left(returns, (transactions[index].called, -1))
        if place and not transactions[index].is_serializable:
            found.append(Edge(first + place - 1, index, "rt"))
    return found


def groups(graph: Graph) -> Iterator[set[int]]:
    """Strongly connected components of more than one node (Tarjan's, without recursion)."""
    number: dict[int, int] = {}
    low: dict[int, int] = {}
    open_nodes: list[int] = []
    is_open: set[int] = set()
    for root in list(graph):
        if root in number:
            continue
        work = [(root, iter(graph[root]))]
        number[root] = low[root] = len(number)
        open_nodes.append(root)
        is_open.add(root)
        while work:
            node, following = work[-1]
            for edge in following:
                after = edge.after
                if after not in number:
                    number[after] = low[after] = len(number)
                    open_nodes.append(after)
                    is_open.add(after)
                    work.append((after, iter(graph.get(after, ()))))
                    break
                if after in is_open:
                    low[node] = min(low[node], number[after])
            else:
                work.pop()
                if work:
                    low[work[-1][0]] = min(low[work[-1][0]], low[node])
                if low[node] == number[node]:
                    group = _close(open_nodes, node)
                    is_open -= group
                    if len(group) > 1:
                        yield group


def _close(open_nodes: list[int], node: int) -> set[int]:
    """Take all from the end up to the node, this included."""
    group = {open_nodes.pop()}
    while node not in group:
        group.add(open_nodes.pop())
    return group


def shortest_circle(group: set[int], graph: Graph, count: int) -> tuple[str, list[Edge]]:
    """A shortest circle in the group, of the worst name that it deserves."""
    for name, kinds in (("G0", {"rt", "ww"}), ("G1c", {"rt", "ww", "wr"}), ("G2", {"rt", "ww", "wr", "rw"})):
        starts = sorted(node for node in group if node < count)[:MOST_STARTS]
        circles = [circle for start in starts if (circle := _back_to(start, group, graph, kinds))]
        if circles:
            circle = min(circles, key=lambda edges: (sum(edge.why == "rw" for edge in edges), len(edges)))
            return ("G-single" if sum(edge.why == "rw" for edge in circle) == 1 else name), circle
    raise AssertionError("a strongly connected group has a circle")


def _back_to(start: int, group: set[int], graph: Graph, kinds: set[str]) -> list[Edge]:
    """The shortest way from a node back to it, breadth first; empty where there is none."""
    reached: dict[int, Edge] = {}
    waiting = deque([start])
    while waiting:
        node = waiting.popleft()
        for edge in graph.get(node, ()):
            if edge.why not in kinds or edge.after not in group or edge.after in reached:
                continue
            reached[edge.after] = edge
            if edge.after == start:
                way = [edge]
                while way[-1].before != start:
                    way.append(reached[way[-1].before])
                return way[::-1]
            waiting.append(edge.after)
    return []
