"""The state as etcd's own snapshot: a bbolt file, and how its buckets are made from our tables.

    key               revision (8) "_" place within it (8) ["t" for a tombstone]   -> KeyValue; of a tombstone its key
    lease             lease id (8)                                                 -> leasepb.Lease
    meta              consistent_index, term (8 each); confState (JSON); scheduledCompactRev, finishedCompactRev (17)
    auth authUsers authRoles alarm                                                 as our tables have them
    members           id in hexadecimal                                            -> member (JSON)
    members_removed cluster                                                        empty

This is the layout of etcd 3.5: 3.4 passes over what it does not know, 3.6 and later convert it when they start. So
neither a storage version nor a cluster version is written, which would only keep an older etcd from using the file.

etcd orders versions by revision. Those after the compacted revision come from `events`, in order already. Those that
were newest at the compaction are found by key, and sorted by revision in runs on disk: memory stays bounded.

    snapshot = EtcdSnapshot(view, members=...)               the view is its own from here on
    for _ in snapshot.prepare(): ...                         pauses; then snapshot.size_bytes is known
    for piece in snapshot.pieces(): ...                      the file, then 32 bytes: its SHA-256; b"" is a pause
    snapshot.close()
"""

import hashlib
import heapq
import json
import struct
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from kvstore.mvcc import layout, leases, wire
from kvstore.mvcc.history import written_at
from kvstore.pb.kv_pb2 import KeyValue
from kvstore.storage.bbolt import Bucket, Image, Record
from kvstore.storage.port import View

__all__ = ["LAYOUT_VERSION", "SAME_TABLES", "EtcdSnapshot", "MemberRow", "revision_key"]

LAYOUT_VERSION = "3.5.0"  # of the oldest etcd that knows every key that is written
PAUSE_ROWS = 256  # looked at between two pauses
RUN_ROWS = 4096  # sorted at once: a few milliseconds
RUN_BUFFER_BYTES = 1 << 14
_REVISION = struct.Struct(">QcQ")
_ROW = struct.Struct(">QBI")  # revision, whether it is in `current`, length of the key
_NUMBER = struct.Struct(">Q")

_EMPTY = (b"cluster", b"members_removed")
SAME_TABLES = {b"auth": layout.AUTH, b"authUsers": layout.AUTH_USERS, b"authRoles": layout.AUTH_ROLES}

_Row = tuple[int, int, bytes]


class MemberRow(Protocol):
    """What is written of a member."""

    @property
    def member_id(self) -> int: ...
    @property
    def name(self) -> str: ...
    @property
    def peer_urls(self) -> tuple[str, ...]: ...
    @property
    def client_urls(self) -> tuple[str, ...]: ...
    @property
    def is_learner(self) -> bool: ...


def revision_key(revision: int, place: int = 0, *, is_tombstone: bool = False) -> bytes:
    """Return a key of etcd's bucket `key`."""
    return _REVISION.pack(revision, b"_", place) + (b"t" if is_tombstone else b"")


class EtcdSnapshot:
    """One consistent view as etcd's file. `folder`: where a large state is sorted; the system's by default."""

    def __init__(self, view: View, *, members: Sequence[MemberRow] = (), folder: Path | None = None) -> None:
        self._view = view
        self._survivors = _Runs(folder)
        stored = view.get(layout.META, layout.STATE_KEY)
        state = (0, 0, 1, 0, 0) if stored is None else layout.STATE.unpack(stored)
        self.index, self.term, self.revision, self.compacted, _ = state
        rows: dict[bytes, Sequence[Record]] = {
            **dict.fromkeys(_EMPTY, ()),
            **{bucket: tuple(view.scan(table)) for bucket, table in SAME_TABLES.items()},
            b"alarm": [(alarm, b"") for alarm in view.keys(layout.ALARMS)],
            b"members": sorted(_member(member) for member in members),
            b"meta": sorted(self._meta(members)),
        }
        self._image = Image(
            [
                Bucket(b"key", self._versions),
                Bucket(b"lease", self._leases),
                *(Bucket(name, lambda records=records: records) for name, records in rows.items()),  # type: ignore[misc]
            ]
        )

    @property
    def size_bytes(self) -> int:
        """Size of the file without its checksum; known after `prepare`."""
        return self._image.size_bytes

    def prepare(self) -> Iterator[None]:
        """Sort what needs sorting and find out the size."""
        if self.compacted:
            yield from self._find_survivors()
        yield from self._image.measure()

    def pieces(self) -> Iterator[bytes]:
        """Yield the file and its checksum."""
        checksum = hashlib.sha256()
        for piece in self._image.pages():
            checksum.update(piece)
            yield piece
        yield checksum.digest()

    def close(self) -> None:
        """Let go of the view; twice is harmless."""
        self._survivors.close()
        self._view.close()

    # ---- buckets --------------------------------------------------------------------------------------------------

    def _versions(self) -> Iterator[Record]:
        view, revision, place = self._view, 0, 0
        for row_revision, is_current, key in self._survivors.merged():
            place = place + 1 if row_revision == revision else 0
            revision = row_revision
            table, name = (layout.CURRENT, key) if is_current else (layout.HISTORY, _put_key(key, revision))
            value = view.get(table, name)
            assert value is not None, "a version that was there a moment ago"
            yield revision_key(revision, place), value
        for stored_key, stored in view.scan(layout.EVENTS, layout.revision_key(self.compacted + 1)):
            key, moment = stored[1:], stored_key[:8] + b"_\0\0\0\0" + stored_key[8:]
            if stored[:1] == layout.KIND_DELETE:
                yield moment + b"t", KeyValue(key=key).SerializeToString()
                continue
            value = written_at(view, key, layout.event_revision(stored_key))
            assert value is not None, "a put event without its version"
            yield moment, value

    def _leases(self) -> Iterator[Record]:
        for stored_key, stored in self._view.scan(layout.LEASES):
            record = leases.decode(stored_key, stored)
            lease = wire.number_field(b"\x08", record.lease) + wire.number_field(b"\x10", record.ttl_seconds)
            yield stored_key, lease + wire.number_field(b"\x18", record.remaining_seconds)

    def _meta(self, members: Sequence[MemberRow]) -> Iterator[Record]:
        voters = sorted(member.member_id for member in members if not member.is_learner)
        learners = sorted(member.member_id for member in members if member.is_learner)
        configuration = {"voters": voters, **({"learners": learners} if learners else {}), "auto_leave": False}
        yield b"confState", json.dumps(configuration, separators=(",", ":")).encode()
        yield b"consistent_index", _NUMBER.pack(self.index)
        yield b"term", _NUMBER.pack(self.term)
        if self.compacted:
            yield b"finishedCompactRev", revision_key(self.compacted)
            yield b"scheduledCompactRev", revision_key(self.compacted)

    def _find_survivors(self) -> Iterator[None]:
        """Gather the versions that a read at the compacted revision sees, whether scrubbed around already or not."""
        found, compacted = self._survivors, self.compacted
        for number, (key, stored) in enumerate(self._view.scan(layout.CURRENT)):
            revision = KeyValue.FromString(stored).mod_revision
            if revision <= compacted:
                found.add((revision, 1, key))
            if not number % PAUSE_ROWS:
                yield
        held: bytes | None = None  # the newest version at or before the compacted revision of the key in hand
        for number, stored_key in enumerate(self._view.keys(layout.HISTORY)):
            if held is not None and layout.history_owner(held) != layout.history_owner(stored_key):
                self._keep(held)
                held = None
            if layout.history_revision(stored_key) <= compacted:
                held = stored_key
            if not number % PAUSE_ROWS:
                yield
        self._keep(held)

    def _keep(self, held: bytes | None) -> None:
        """Count a version of `history` in, where it was a living one that nothing superseded up to the compaction."""
        if held is None or held.endswith(layout.KIND_DELETE):
            return
        key, revision = layout.unescape(layout.history_owner(held)), layout.history_revision(held)
        newest = self._view.get(layout.CURRENT, key)
        if newest is None or KeyValue.FromString(newest).mod_revision > self.compacted:
            self._survivors.add((revision, 0, key))


def _put_key(key: bytes, revision: int) -> bytes:
    return layout.history_key(key, revision, layout.KIND_PUT)


def _member(member: MemberRow) -> Record:
    row: dict[str, object] = {"id": member.member_id, "peerURLs": list(member.peer_urls)}
    if member.is_learner:
        row["isLearner"] = True
    if member.name:
        row["name"] = member.name
    if member.client_urls:
        row["clientURLs"] = list(member.client_urls)
    return b"%x" % member.member_id, json.dumps(row, separators=(",", ":")).encode()


class _Runs:
    """Rows in any order, and back in theirs: sorted by revision and key in runs, which are merged. Few stay in memory."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._newest: list[_Row] = []
        self._file: IO[bytes] | None = None
        self._ends: list[int] = []

    def add(self, row: _Row) -> None:
        self._newest.append(row)
        if len(self._newest) >= RUN_ROWS:
            self._newest.sort()
            if self._file is None:
                self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - close() ends it
            packed = (_ROW.pack(revision, table, len(key)) + key for revision, table, key in self._newest)
            self._file.write(b"".join(packed))
            self._ends.append(self._file.tell())
            self._newest = []

    def merged(self) -> Iterable[_Row]:
        self._newest.sort()
        starts = [0, *self._ends]
        return heapq.merge(self._newest, *map(self._read, starts, self._ends))

    def _read(self, position: int, end: int) -> Iterator[_Row]:
        assert self._file is not None
        buffer, start = b"", 0
        while start < len(buffer) or position < end:
            head = _ROW.unpack_from(buffer, start) if start + _ROW.size <= len(buffer) else None
            if head is None or start + _ROW.size + head[2] > len(buffer):
                self._file.seek(position)
                wanted = min(max(RUN_BUFFER_BYTES, head[2] if head else 0), end - position)
                buffer, start = buffer[start:] + self._file.read(wanted), 0
                position += wanted
                continue
            key = start + _ROW.size
            start = key + head[2]
            yield head[0], head[1], buffer[key:start]

    def close(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
