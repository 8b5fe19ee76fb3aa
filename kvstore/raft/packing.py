"""Entries as bytes: the same form on disk and between members, so that a batch costs two joins and no call per entry.

    count of entries, count of runs                    two 32-bit numbers
    runs: (term, kind, how many entries)               64, 8, 32 bits; neighbours of one term and kind share one
    length of each entry's data                        32 bits each
    the data, joined

All big-endian. Indexes are not in it: they follow from the first.
"""

import struct
from collections.abc import Sequence

from kvstore.raft.types import Entry, EntryKind

_COUNTS = struct.Struct(">II")
_RUN = struct.Struct(">QBI")
_KINDS = tuple(EntryKind)


def pack_entries(entries: Sequence[Entry]) -> bytes:
    """The entries' terms, kinds and data; they must follow one another without a gap."""
    count = len(entries)
    if not count:
        return _COUNTS.pack(0, 0)
    data = [entry.data for entry in entries]
    runs = _runs(entries)
    lengths = struct.pack(f">{count}I", *map(len, data))
    return b"".join((_COUNTS.pack(count, len(runs)), *runs, lengths, *data))


def _runs(entries: Sequence[Entry]) -> list[bytes]:
    runs, start = [], 0
    while start < len(entries):
        term, kind, end = entries[start].term, entries[start].kind, start + 1
        while end < len(entries) and entries[end].kind is kind and entries[end].term == term:
            end += 1
        runs.append(_RUN.pack(term, kind, end - start))
        start = end
    return runs


def unpack_entries(first_index: int, packed: bytes) -> tuple[Entry, ...]:
    """The inverse of pack_entries; raises ValueError or struct.error where the bytes cannot be that."""
    count, run_count = _COUNTS.unpack_from(packed)
    if not count:
        return ()
    position = _COUNTS.size + run_count * _RUN.size
    lengths = struct.unpack_from(f">{count}I", packed, position)
    position += 4 * count
    entries: list[Entry] = []
    index = first_index
    for run in range(run_count):
        term, kind_number, size = _RUN.unpack_from(packed, _COUNTS.size + run * _RUN.size)
        kind = _KINDS[kind_number]
        for length in lengths[index - first_index : index - first_index + size]:
            end = position + length
            entries.append(Entry(index, term, kind, packed[position:end]))
            index += 1
            position = end
    if len(entries) != count or position != len(packed):
        raise ValueError(f"{len(packed)} bytes do not hold the {count} entries they state")
    return tuple(entries)
