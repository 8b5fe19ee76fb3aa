"""All nodes as numpy columns: row = node, one array per fact, so that a filter or a score is a few vector operations.

    NodeColumns       rows, allocatable and requested amounts, unschedulable
    TaintColumns      which row has which distinct taint, and at which place of its list
    LabelColumns      per label key, the number of each row's value

Rows of deleted nodes are reused. Arrays are longer than `size`; use the first `size` entries. Rows where `alive` is False
hold nothing. Units: cpu in millicores, others in their own unit.
"""

import os
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# numpy's linear algebra starts a thread per core when it is loaded; nothing here multiplies matrices.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
import numpy.typing as npt

from controlplane.objects.taints import HARD_EFFECTS, is_tolerated
from controlplane.scheduler.hostports import HostPorts
from controlplane.scheduler.interning import Interner
from controlplane.scheduler.requests import CPU, EPHEMERAL_STORAGE, MEMORY, PODS, Amounts, amounts

Rows = npt.NDArray[np.bool_]
Integers = npt.NDArray[np.int64]
RowNumbers = npt.NDArray[np.intp]

CPU_COLUMN, MEMORY_COLUMN, EPHEMERAL_STORAGE_COLUMN, PODS_COLUMN = range(4)
FIRST_CAPACITY = 16
ABSENT = -1
NO_POSITION = 32767


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint without its timeAdded: what tolerations look at."""

    key: str
    value: str
    effect: str

    @property
    def is_hard(self) -> bool:
        """True when it keeps pods away instead of only speaking against the node."""
        return self.effect in HARD_EFFECTS

    def is_tolerated(self, tolerations: Iterable[dict[str, Any]]) -> bool:
        """Does one of a pod's tolerations match?"""
        return is_tolerated({"key": self.key, "value": self.value, "effect": self.effect}, tolerations)


def read_taints(node: Mapping[str, Any]) -> tuple[Taint, ...]:
    """`spec.taints` of a node, in their order."""
    entries = (node.get("spec") or {}).get("taints") or ()
    return tuple(Taint(entry["key"], entry.get("value") or "", entry["effect"]) for entry in entries)


class TaintColumns:
    """positions[taint id, row] = place of the taint in the node's list, NO_POSITION where the node lacks it."""

    def __init__(self, capacity: int) -> None:
        self.taints: Interner[Taint] = Interner()
        self.positions: npt.NDArray[np.int16] = np.full((0, capacity), NO_POSITION, np.int16)
        self._ids_of: dict[int, tuple[int, ...]] = {}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        more = capacity - self.positions.shape[1]
        self.positions = np.pad(self.positions, ((0, 0), (0, more)), constant_values=NO_POSITION)

    def set(self, row: int, taints: tuple[Taint, ...]) -> None:
        """Replace the row's taints."""
        ids = tuple(self.taints.take(taint) for taint in taints)
        self.clear(row)
        missing = len(self.taints.values) - len(self.positions)
        if missing > 0:
            self.positions = np.pad(self.positions, ((0, missing), (0, 0)), constant_values=NO_POSITION)
        # Backwards, so that a taint listed twice stands at its first place.
        for position in range(len(ids) - 1, -1, -1):
            self.positions[ids[position], row] = position
        if ids:
            self._ids_of[row] = ids

    def clear(self, row: int) -> None:
        """Take all taints from the row."""
        for number in self._ids_of.pop(row, ()):
            self.positions[number, row] = NO_POSITION
            self.taints.give_back(number)


class _LabelColumn:
    __slots__ = ("ids", "values")

    def __init__(self, capacity: int) -> None:
        self.values: Interner[str] = Interner()
        self.ids: npt.NDArray[np.int32] = np.full(capacity, ABSENT, np.int32)


class LabelColumns:
    """For each label key a column of value numbers, ABSENT where the node lacks the label."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._columns: dict[str, _LabelColumn] = {}
        self._labels_of: dict[int, Mapping[str, str]] = {}

    def grow(self, capacity: int) -> None:
        """Make room for `capacity` rows."""
        for column in self._columns.values():
            column.ids = np.pad(column.ids, (0, capacity - self._capacity), constant_values=ABSENT)
        self._capacity = capacity

    def set(self, row: int, labels: Mapping[str, str]) -> None:
        """Replace the row's labels."""
        old = self._labels_of.get(row, {})
        if old == labels:
            return
        for key, value in old.items():
            if labels.get(key) != value:
                self._unset(row, key)
        for key, value in labels.items():
            if old.get(key) != value:
                column = self._columns.get(key)
                if column is None:
                    column = self._columns[key] = _LabelColumn(self._capacity)
                column.ids[row] = column.values.take(value)
        self._labels_of[row] = labels

    def clear(self, row: int) -> None:
        """Take all labels from the row."""
        for key in self._labels_of.pop(row, {}):
            self._unset(row, key)

    def _unset(self, row: int, key: str) -> None:
        column = self._columns[key]
        column.values.give_back(int(column.ids[row]))
        column.ids[row] = ABSENT
        if not len(column.values):
            del self._columns[key]

    def having(self, key: str, size: int) -> Rows:
        """Rows that have the label, whatever its value."""
        column = self._columns.get(key)
        return np.zeros(size, np.bool_) if column is None else column.ids[:size] != ABSENT

    def having_value_in(self, key: str, values: Collection[str], size: int) -> Rows:
        """Rows whose label has one of the values."""
        rows = np.zeros(size, np.bool_)
        column = self._columns.get(key)
        if column is not None:
            for value in values:
                number = column.values.find(value)
                if number is not None:
                    rows |= column.ids[:size] == number
        return rows

    def having_value_where(self, key: str, holds: Callable[[str], bool], size: int) -> Rows:
        """Rows whose label's value satisfies `holds`, which is asked once per distinct value."""
        column = self._columns.get(key)
        if column is None:
            return np.zeros(size, np.bool_)
        answers = [value is not None and holds(value) for value in column.values.values]
        # One more entry, for ABSENT: index -1 is the last.
        table = np.array([*answers, False], np.bool_)
        return table[column.ids[:size]]


class NodeColumns:
    """The nodes of the cluster, and what is requested of each."""

    def __init__(self) -> None:
        self.size = 0
        self.count = 0
        self.unschedulable_count = 0
        self.row_of: dict[str, int] = {}
        self.resources: dict[str, int] = {
            CPU: CPU_COLUMN,
            MEMORY: MEMORY_COLUMN,
            EPHEMERAL_STORAGE: EPHEMERAL_STORAGE_COLUMN,
            PODS: PODS_COLUMN,
        }
        capacity = self._capacity = FIRST_CAPACITY
        self.alive: Rows = np.zeros(capacity, np.bool_)
        self.unschedulable: Rows = np.zeros(capacity, np.bool_)
        self.allocatable: Integers = np.zeros((len(self.resources), capacity), np.int64)
        self.requested: Integers = np.zeros((len(self.resources), capacity), np.int64)
        self.scoring_requested: Integers = np.zeros((2, capacity), np.int64)
        self.taints = TaintColumns(capacity)
        self.labels = LabelColumns(capacity)
        self.host_ports = HostPorts()
        self._free_rows: list[int] = []
        self._names: list[str] = []
        self._names_value: tuple[str, ...] | None = ()

    def names(self) -> tuple[str, ...]:
        """The node of each row, "" for a free one; a value that later changes do not touch."""
        if self._names_value is None:
            self._names_value = tuple(self._names)
        return self._names_value

    def resource_column(self, name: str) -> int:
        """The column of a resource; made on first sight."""
        column = self.resources.get(name)
        if column is None:
            column = self.resources[name] = len(self.resources)
            self.allocatable = np.pad(self.allocatable, ((0, 1), (0, 0)))
            self.requested = np.pad(self.requested, ((0, 1), (0, 0)))
        return column

    def set_node(self, node: Mapping[str, Any]) -> int:
        """Add or replace a core/v1 Node and return its row. What is requested of it stays."""
        name = node["metadata"]["name"]
        row = self.row_of.get(name)
        if row is None:
            row = self._new_row(name)
        spec, status = node.get("spec") or {}, node.get("status") or {}
        self._set_allocatable(row, amounts(status.get("allocatable") or {}))
        unschedulable = bool(spec.get("unschedulable"))
        self.unschedulable_count += int(unschedulable) - int(self.unschedulable[row])
        self.unschedulable[row] = unschedulable
        self.taints.set(row, read_taints(node))
        self.labels.set(row, node["metadata"].get("labels") or {})
        return row

    def remove_node(self, name: str) -> None:
        """Free the row of a node; unknown names are no fault."""
        row = self.row_of.pop(name, None)
        if row is None:
            return
        self.alive[row] = False
        self.unschedulable_count -= int(self.unschedulable[row])
        self.unschedulable[row] = False
        self.allocatable[:, row] = 0
        self.requested[:, row] = 0
        self.scoring_requested[:, row] = 0
        self.taints.clear(row)
        self.labels.clear(row)
        self.host_ports.clear(row)
        self.count -= 1
        self._names[row] = ""
        self._names_value = None
        self._free_rows.append(row)

    def add_requests(self, row: int, requests: Amounts, scoring: tuple[int, int], sign: int) -> None:
        """Count a pod's requests on a row (sign 1) or take them off (sign -1)."""
        for name, amount in requests.items():
            column = self.resource_column(name)  # first: it may replace the array
            self.requested[column, row] += sign * amount
        self.requested[PODS_COLUMN, row] += sign
        self.scoring_requested[CPU_COLUMN, row] += sign * scoring[0]
        self.scoring_requested[MEMORY_COLUMN, row] += sign * scoring[1]

    def _set_allocatable(self, row: int, allocatable: Amounts) -> None:
        for name in allocatable:
            self.resource_column(name)
        self.allocatable[:, row] = 0
        for name, amount in allocatable.items():
            self.allocatable[self.resources[name], row] = amount

    def _new_row(self, name: str) -> int:
        if self._free_rows:
            row = self._free_rows.pop()
            self._names[row] = name
        else:
            row = self.size
            if row == self._capacity:
                self._grow(2 * self._capacity)
            self.size += 1
            self._names.append(name)
        self.row_of[name] = row
        self.alive[row] = True
        self.count += 1
        self._names_value = None
        return row

    def _grow(self, capacity: int) -> None:
        more = capacity - self._capacity
        self.alive = np.pad(self.alive, (0, more))
        self.unschedulable = np.pad(self.unschedulable, (0, more))
        self.allocatable = np.pad(self.allocatable, ((0, 0), (0, more)))
        self.requested = np.pad(self.requested, ((0, 0), (0, more)))
        self.scoring_requested = np.pad(self.scoring_requested, ((0, 0), (0, more)))
        self.taints.grow(capacity)
        self.labels.grow(capacity)
        self._capacity = capacity
