"""A client's bytes as a message, or the answer to bytes that are none."""

from typing import Protocol, TypeVar

from google.protobuf.message import DecodeError

from kvstore.api import errors
from kvstore.rpc import Call

__all__ = ["decode"]

_Message = TypeVar("_Message", covariant=True)


class _MessageType(Protocol[_Message]):
    def FromString(self, serialized: bytes, /) -> _Message: ...


def decode(call: Call, message_type: _MessageType[_Message], message: bytes) -> _Message | None:
    """Return the message; on malformed bytes fail `call` and return None."""
    try:
        return message_type.FromString(message)
    except DecodeError:
        errors.refuse(call, errors.MALFORMED)
        return None
