"""Header blocks (RFC 7541) remembered, over hpack_decoder.

What a block means depends on its bytes and on the dynamic table. A block that neither adds to the table nor resizes it is
*pure*: while the table stays as it is, the same bytes mean the same fields, and leave the table as it was. So a memo of pure
blocks is right as long as it is emptied whenever any other block changes the table. In steady state every client sends pure
blocks (all fields indexed, or literal without indexing), and a call costs one dictionary look-up.

The memo keeps not the fields but what the caller's `interpret` made of them (validated, routed), computed once a block.

Encoding never uses the dynamic table: blocks are plain bytes that are true on any connection, and can be computed once.
"""

from collections.abc import Callable, Iterable
from typing import Final, Generic, TypeVar

from hpack.hpack import encode_integer
from hpack.table import HeaderTable

from kvstore.rpc.frames import ConnectionFault, ErrorCode
from kvstore.rpc.hpack_decoder import FieldDecoder, Fields, HPACKError

T = TypeVar("T")

MEMO_ENTRIES: Final = 256
MEMO_BLOCK_BYTES: Final = 1024  # larger blocks are not remembered: a peer can pin at most 256 KiB (and their fields)
TABLE_SIZE_ZERO: Final = b"\x20"  # "my dynamic table is empty": owed to a peer that lowered SETTINGS_HEADER_TABLE_SIZE


class HeaderMemo(Generic[T]):
    """Blocks of one connection and direction -> `interpret(fields)`.

    `max_list_bytes` bounds the decoded list as RFC 9113 section 6.5.2 counts it (32 bytes a field on top).
    """

    def __init__(self, interpret: Callable[[Fields], T], max_list_bytes: int) -> None:
        self._interpret = interpret
        self._decoder = FieldDecoder(max_list_bytes)
        self.memo: dict[bytes, T] = {}

    def get(self, block: bytes) -> T:
        """What the block means. Every block of the connection must pass here, in order. Raises ConnectionFault."""
        known = self.memo.get(block)
        if known is not None:
            return known
        changes = self._decoder.changes
        try:
            fields = self._decoder.decode(block)
        except HPACKError as error:
            raise ConnectionFault(ErrorCode.COMPRESSION_ERROR, f"header block: {error}") from None
        meaning = self._interpret(fields)
        if self._decoder.changes != changes:
            if self.memo:
                self.memo.clear()
        elif len(block) <= MEMO_BLOCK_BYTES:
            if len(self.memo) >= MEMO_ENTRIES:
                self.memo.clear()
            self.memo[block] = meaning
        return meaning


def _static_names() -> dict[bytes, int]:
    names: dict[bytes, int] = {}
    for index, (name, _) in enumerate(HeaderTable.STATIC_TABLE, start=1):
        names.setdefault(bytes(name), index)
    return names


_STATIC_NAMES: Final = _static_names()
_STATIC_FIELDS: Final = {(bytes(n), bytes(v)): index for index, (n, v) in enumerate(HeaderTable.STATIC_TABLE, start=1)}
_SECRET_NAMES: Final = frozenset((b"authorization", b"token", b"cookie"))


def encode_field(name: bytes, value: bytes) -> bytes:
    """One field: indexed from the static table, or literal without (for secrets: never with) indexing."""
    static = _STATIC_FIELDS.get((name, value))
    if static is not None:
        return (0x80 | static).to_bytes(1, "big")
    kind = 0x10 if name in _SECRET_NAMES else 0
    index = _STATIC_NAMES.get(name, 0)
    head = bytearray(encode_integer(index, 4))
    head[0] |= kind
    if not index:
        head += encode_integer(len(name), 7) + name
    return bytes(head + encode_integer(len(value), 7) + value)


def encode_fields(fields: Iterable[tuple[bytes, bytes]]) -> bytes:
    """A header block that leaves the peer's dynamic table alone."""
    return b"".join(encode_field(name, value) for name, value in fields)
