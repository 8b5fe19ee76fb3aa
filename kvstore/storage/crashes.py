"""What a process that was ended by a signal of its own making has left: LMDB does that to one that meets a damaged page.

    with noting(path): ...     SIGSEGV, SIGBUS, SIGFPE and SIGABRT write into `path`; a clean end empties it
    count(path)                how often that was since the last clean end

So the next start knows that it has to have every page looked at by another process before it opens the store, and no other
start has to pay for that. `kill -9` and power cuts leave no note: they damage no page.
"""

import faulthandler
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["clear", "count", "noting"]

_MARK = b"Fatal Python error"  # how faulthandler begins


@contextmanager
def noting(path: Path) -> Iterator[None]:
    """Note what ends the process within; faulthandler is ours alone then."""
    with path.open("ab", buffering=0) as note:
        faulthandler.enable(note, all_threads=False)
        try:
            yield
        finally:
            faulthandler.disable()
    clear(path)


def count(path: Path) -> int:
    """Return how many processes have been ended so."""
    try:
        return path.read_bytes().count(_MARK)
    except FileNotFoundError:
        return 0


def clear(path: Path) -> None:
    """Forget them."""
    path.unlink(missing_ok=True)
