"""Who wants which event: watchers that ask for the same bytes form a group, groups are found by key.

    Interest   what a watcher wants: range, filters, previous values
    Index      groups by key: single keys and prefixes in dicts (one look for each length of prefix), other ranges in a list
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

__all__ = ["Index", "Interest"]

_Member = TypeVar("_Member")


@dataclass(frozen=True, slots=True)
class Interest:
    """Events of the keys `start <= key < end` (None: to the last key), less the kinds filtered out."""

    start: bytes
    end: bytes | None
    no_put: bool = False
    no_delete: bool = False
    previous: bool = False

    def covers(self, key: bytes) -> bool:
        """Tell whether `key` is in the range."""
        return self.start <= key and (self.end is None or key < self.end)

    def wants(self, is_delete: bool) -> bool:
        """Tell whether the filters let a delete, or a put, pass."""
        return not (self.no_delete if is_delete else self.no_put)


def prefix_end(prefix: bytes) -> bytes | None:
    """Return the least key above all that begin with `prefix`; None when there is none (all 0xff, or empty)."""
    kept = prefix.rstrip(b"\xff")
    return kept[:-1] + bytes((kept[-1] + 1,)) if kept else None


_Groups = dict[Interest, dict[_Member, None]]


class Index(Generic[_Member]):
    """Groups of members by interest; dicts throughout, so that the order is the order of arrival."""

    def __init__(self) -> None:
        self._points: dict[bytes, _Groups[_Member]] = {}
        self._prefixes: dict[int, dict[bytes, _Groups[_Member]]] = {}
        self._ranges: _Groups[_Member] = {}

    def _home(self, interest: Interest) -> _Groups[_Member]:
        start, end = interest.start, interest.end
        if end == start + b"\0":
            return self._points.setdefault(start, {})
        if end is not None and end == prefix_end(start):
            return self._prefixes.setdefault(len(start), {}).setdefault(start, {})
        return self._ranges

    def add(self, interest: Interest, member: _Member) -> None:
        """Put `member` into the group of `interest`."""
        self._home(interest).setdefault(interest, {})[member] = None

    def remove(self, interest: Interest, member: _Member) -> None:
        """Take `member` out of its group; an empty group is forgotten."""
        home = self._home(interest)
        group = home.get(interest)
        if group is not None:
            group.pop(member, None)
            if not group:
                del home[interest]
        if not home:
            self._forget_home(interest.start)

    def _forget_home(self, start: bytes) -> None:
        if start in self._points and not self._points[start]:
            del self._points[start]
        same_length = self._prefixes.get(len(start))
        if same_length is not None and start in same_length and not same_length[start]:
            del same_length[start]
            if not same_length:
                del self._prefixes[len(start)]

    def matching(self, key: bytes) -> Iterator[tuple[Interest, dict[_Member, None]]]:
        """Yield the groups whose range covers `key`."""
        if key in self._points:
            yield from self._points[key].items()
        for length, by_prefix in self._prefixes.items():
            groups = by_prefix.get(key[:length])
            if groups is not None and len(key) >= length:
                yield from groups.items()
        for interest, group in self._ranges.items():
            if interest.covers(key):
                yield interest, group

    def groups(self) -> Iterator[tuple[Interest, dict[_Member, None]]]:
        """Yield all groups."""
        for groups in self._points.values():
            yield from groups.items()
        for by_prefix in self._prefixes.values():
            for groups in by_prefix.values():
                yield from groups.items()
        yield from self._ranges.items()
