"""Pieces of protobuf's wire format, to splice stored bytes into an answer without decoding them.

Only what the answers need: varints, and fields of type varint or bytes. Field numbers stand with the callers.
"""

__all__ = ["DELETE_EVENT", "encode_key_value", "event", "message_field", "number_field", "varint"]

_ONE_BYTE = [bytes((number,)) for number in range(128)]
_SIGNED = 1 << 64


def varint(number: int) -> bytes:
    """Encode `number`; a negative int64 takes ten bytes, as protobuf has it."""
    if 0 <= number < 1 << 21:  # lengths and most revisions, without the loop
        if number < 1 << 7:
            return _ONE_BYTE[number]
        if number < 1 << 14:
            return bytes((number & 127 | 128, number >> 7))
        return bytes((number & 127 | 128, number >> 7 & 127 | 128, number >> 14))
    if number < 0:
        number += _SIGNED
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)


def message_field(tag: bytes, encoded: bytes) -> bytes:
    """Return a length-delimited field; `tag` is field number * 8 + 2, encoded."""
    return tag + varint(len(encoded)) + encoded


def number_field(tag: bytes, number: int) -> bytes:
    """Return a varint field, nothing for zero; `tag` is field number * 8, encoded."""
    return tag + varint(number) if number else b""


def encode_key_value(key: bytes, create: int, mod: int, version: int, value: bytes, lease: int) -> bytes:
    """Return the KeyValue message as it is stored and sent; compiled, this costs a third of what protobuf does."""
    head = b"\x0a" + varint(len(key)) + key if key else b""
    head += number_field(b"\x10", create) + number_field(b"\x18", mod) + number_field(b"\x20", version)
    if value:
        head += b"\x2a" + varint(len(value)) + value
    return head + b"\x30" + varint(lease) if lease else head


DELETE_EVENT = b"\x08\x01"  # Event.type = DELETE; a PUT is the default and takes no bytes


def event(is_delete: bool, key_value: bytes, previous: bytes | None) -> bytes:
    """Return an encoded mvccpb.Event around encoded KeyValues; `previous` None leaves prev_kv out."""
    head = DELETE_EVENT + b"\x12" if is_delete else b"\x12"
    body = head + varint(len(key_value)) + key_value
    return body if previous is None else body + b"\x1a" + varint(len(previous)) + previous
