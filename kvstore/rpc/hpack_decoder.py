"""Header blocks into fields (RFC 7541), over the tables, integers and Huffman code of the `hpack` package.

hpack's own loop costs 4 us a field (logging, slices, wrappers), and Go's clients send a new `grpc-timeout` into the dynamic
table with each call, which moves every other index: no block of theirs ever comes twice. This loop costs a fifth and means the
same (tests compare the two on anything).
"""

from __future__ import annotations

from typing import Final

from hpack import HPACKError
from hpack.exceptions import HPACKDecodingError, InvalidTableIndex, OversizedHeaderListError
from hpack.hpack import decode_integer
from hpack.huffman_table import decode_huffman
from hpack.table import HeaderTable

Fields = tuple[tuple[bytes, bytes], ...]

FIELD_OVERHEAD_BYTES: Final = 32  # what RFC 9113 (6.5.2) and RFC 7541 (4.1) add to each field
TABLE_BYTES: Final = 4_096  # SETTINGS_HEADER_TABLE_SIZE that we announce by silence
_STATIC: Final = tuple((bytes(name), bytes(value)) for name, value in HeaderTable.STATIC_TABLE)
_STATIC_LENGTH: Final = len(_STATIC)


class FieldDecoder:
    """The decoding state of one direction of one connection. After an error it is of no use: the connection must end."""

    def __init__(self, max_list_bytes: int) -> None:
        self.changes = 0  # grows when the meaning of indices may have changed
        self._table = HeaderTable()
        self._max_list_bytes = max_list_bytes

    def decode(self, block: bytes) -> Fields:
        """The fields of a whole block. Raises hpack.HPACKError."""
        fields: list[tuple[bytes, bytes]] = []
        position = 0
        size = len(block)
        room = self._max_list_bytes
        entries = self._table.dynamic_entries
        try:
            while position < size:
                first = block[position]
                if first & 0x80:  # indexed
                    index = first & 0x7F
                    position += 1
                    if index == 0x7F:
                        index, position = self._long_integer(block, position - 1, 7)
                    if 0 < index <= _STATIC_LENGTH:
                        field = _STATIC[index - 1]
                    elif index:
                        field = entries[index - _STATIC_LENGTH - 1]
                    else:
                        raise InvalidTableIndex("index 0")
                elif first & 0x60 == 0x20:  # table size update
                    if fields:
                        raise HPACKDecodingError("a table size update must come first")
                    position = self._resize(block, position)
                    continue
                else:
                    field, position = self._literal(block, position, 6 if first & 0x40 else 4)
                    if first & 0x40:
                        self._table.add(*field)
                        self.changes += 1
                fields.append(field)
                room -= len(field[0]) + len(field[1]) + FIELD_OVERHEAD_BYTES
                if room < 0:
                    raise OversizedHeaderListError(f"header list above {self._max_list_bytes} bytes")
        except IndexError:
            raise HPACKDecodingError("a truncated block or an index beyond the table") from None
        return tuple(fields)

    @staticmethod
    def _long_integer(block: bytes, position: int, bits: int) -> tuple[int, int]:
        number, consumed = decode_integer(block[position : position + 16], bits)
        return number, position + consumed

    def _resize(self, block: bytes, position: int) -> int:
        size, position = self._long_integer(block, position, 5)
        if size > TABLE_BYTES:
            raise HPACKDecodingError("table size update above the announced size")
        self._table.maxsize = size
        self.changes += 1
        return position

    def _literal(self, block: bytes, position: int, bits: int) -> tuple[tuple[bytes, bytes], int]:
        mask = (1 << bits) - 1
        index = block[position] & mask
        position += 1
        if index == mask:
            index, position = self._long_integer(block, position - 1, bits)
        if not index:
            name, position = self._string(block, position)
        elif index <= _STATIC_LENGTH:
            name = _STATIC[index - 1][0]
        else:
            name = self._table.dynamic_entries[index - _STATIC_LENGTH - 1][0]
        value, position = self._string(block, position)
        return (name, value), position

    def _string(self, block: bytes, position: int) -> tuple[bytes, int]:
        first = block[position]
        length = first & 0x7F
        position += 1
        if length == 0x7F:
            length, position = self._long_integer(block, position - 1, 7)
        end = position + length
        raw = block[position:end]
        if len(raw) != length:
            raise HPACKDecodingError("a string ends after its block")
        return (decode_huffman(raw) if first & 0x80 else raw), end


__all__ = ["FieldDecoder", "Fields", "HPACKError"]
