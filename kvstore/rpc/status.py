"""gRPC's status codes, `grpc-message` percent-encoding, `grpc-timeout`, binary metadata.  Source: gRPC's PROTOCOL-HTTP2."""

import base64
import binascii
import re
from collections.abc import Mapping
from enum import IntEnum
from urllib.parse import unquote_to_bytes


class Code(IntEnum):
    """The status codes of gRPC, numbers as on the wire."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


class RpcError(Exception):
    """A call ended with a status other than OK.

    `sent` is False when it is certain that the server never saw the request, so that even a write may be retried.
    """

    def __init__(self, code: int, text: str, metadata: Mapping[str, str] | None = None, *, sent: bool = True) -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text
        self.metadata: Mapping[str, str] = {} if metadata is None else metadata
        self.sent = sent

    def __str__(self) -> str:
        name = Code(self.code).name if self.code in Code._value2member_map_ else str(self.code)
        return f"{name}: {self.text}"


_NOT_PLAIN = re.compile(rb"[^ -$&-~]")
_TIMEOUT = re.compile(r"[0-9]{1,8}[HMSmun]")
_UNIT_SECONDS = {"H": 3600.0, "M": 60.0, "S": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9}
_LONGEST_TIMEOUT_SECONDS = 99_999_999 * 3600.0


def encode_message(text: str) -> bytes:
    """Percent-encode a status text for the `grpc-message` header."""
    raw = text.encode("utf-8", "surrogateescape")
    return _NOT_PLAIN.sub(lambda match: b"%%%02X" % match.group()[0], raw)


def decode_message(value: str) -> str:
    """The text of a `grpc-message` header; bytes that are not UTF-8 become U+FFFD, never an error."""
    return unquote_to_bytes(value).decode("utf-8", "replace")


def decode_timeout(value: str) -> float | None:
    """Seconds of a `grpc-timeout` header, or None when it is malformed."""
    if not _TIMEOUT.fullmatch(value):
        return None
    return int(value[:-1]) * _UNIT_SECONDS[value[-1]]


def encode_timeout(seconds: float) -> str:
    """The `grpc-timeout` header of a timeout; rounded up to a unit in which it fits in eight digits."""
    if seconds <= 0:
        return "1n"
    if seconds >= _LONGEST_TIMEOUT_SECONDS:
        return "99999999H"
    for unit, scale in (("m", 1e3), ("S", 1.0), ("M", 1 / 60)):
        amount = -int(-seconds * scale // 1)
        if amount <= 99_999_999:
            return f"{amount}{unit}"
    return f"{-int(-seconds // 3600)}H"


def decode_binary(value: str) -> bytes | None:
    """The bytes of a `-bin` metadata value (padding is optional), or None when it is not base64."""
    try:
        return base64.b64decode(value + "=" * (-len(value) % 4), validate=True)
    except (binascii.Error, ValueError):
        return None


def encode_binary(value: bytes) -> str:
    """A `-bin` metadata value: base64 without padding."""
    return base64.b64encode(value).rstrip(b"=").decode("ascii")


# What a client makes of an HTTP status that came without a grpc-status (gRPC's http-grpc-status-mapping).
HTTP_STATUS_TO_CODE: Mapping[str, Code] = {
    "400": Code.INTERNAL,
    "401": Code.UNAUTHENTICATED,
    "403": Code.PERMISSION_DENIED,
    "404": Code.UNIMPLEMENTED,
    "429": Code.UNAVAILABLE,
    "502": Code.UNAVAILABLE,
    "503": Code.UNAVAILABLE,
    "504": Code.UNAVAILABLE,
}
