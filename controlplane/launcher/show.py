"""What a person reads: tables, progress, and the words after a start."""

import sys
from collections.abc import Iterable, Sequence
from types import TracebackType


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return columns aligned as kubectl aligns them: three spaces between, no lines."""
    lines = [tuple(header), *(tuple(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return "\n".join("   ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size else "-"


class Progress:
    """One line that is rewritten on a terminal and silent elsewhere."""

    def __init__(self, verb: str, total: int) -> None:
        self.verb = verb
        self.total = total
        self.live = sys.stderr.isatty()

    def __enter__(self) -> "Progress":
        return self

    def step(self, done: int, name: str) -> None:
        if self.live:
            sys.stderr.write(f"\r\033[K{self.verb} {done}/{self.total} {name}")
            sys.stderr.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.live:
            sys.stderr.write("\r\033[K")
            sys.stderr.flush()
