"""Values as small integers, so that they can stand in columns; a value that nobody uses any more gives its number back."""

from collections.abc import Hashable
from typing import Generic, TypeVar

Value = TypeVar("Value", bound=Hashable)


class Interner(Generic[Value]):
    """value -> id with reference counts. `values[id]` is None where the id is free."""

    __slots__ = ("_free", "_ids", "_uses", "values")

    def __init__(self) -> None:
        self.values: list[Value | None] = []
        self._ids: dict[Value, int] = {}
        self._uses: list[int] = []
        self._free: list[int] = []

    def __len__(self) -> int:
        """How many values are in use."""
        return len(self._ids)

    def find(self, value: Value) -> int | None:
        """The value's id, or None when no one uses it."""
        return self._ids.get(value)

    def take(self, value: Value) -> int:
        """Count one more use of the value and return its id."""
        number = self._ids.get(value)
        if number is None:
            number = self._free.pop() if self._free else len(self.values)
            if number == len(self.values):
                self.values.append(value)
                self._uses.append(0)
            else:
                self.values[number] = value
            self._ids[value] = number
        self._uses[number] += 1
        return number

    def give_back(self, number: int) -> None:
        """Count one use less; the last one frees the id."""
        self._uses[number] -= 1
        if self._uses[number]:
            return
        value = self.values[number]
        assert value is not None
        del self._ids[value]
        self.values[number] = None
        self._free.append(number)
