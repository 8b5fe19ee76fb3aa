"""What happened: one hash over every event in order, counters by kind, and the last lines for a reader."""

from collections import Counter, deque
from collections.abc import Callable
from hashlib import blake2b

__all__ = ["Trace"]

KEPT_LINES = 200
HASH_BYTES = 16


class Trace:
    """`note(time, who, what, detail)` for each event that the seed decides."""

    def __init__(self, show: Callable[[str], None] | None = None) -> None:
        self._hash = blake2b(digest_size=HASH_BYTES)
        self._show = show
        self.counts: Counter[str] = Counter()
        self.lines: deque[str] = deque(maxlen=KEPT_LINES)

    def note(self, now: float, who: str, what: str, detail: object = "") -> None:
        """Add one event. `detail` must print the same in every run: no addresses, no sets."""
        line = f"{now:.9f} {who} {what} {detail}"
        self._hash.update(line.encode())
        self.counts[what] += 1
        self.lines.append(line)
        if self._show is not None:
            self._show(line)

    def digest(self) -> str:
        """The hash of all events so far, in hexadecimal."""
        return self._hash.hexdigest()
