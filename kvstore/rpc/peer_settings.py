"""What the peer's SETTINGS change (RFC 9113, section 6.5.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from kvstore.rpc import frames
from kvstore.rpc.frames import ConnectionFault, ErrorCode, StreamFault
from kvstore.rpc.hpack_memo import TABLE_SIZE_ZERO

if TYPE_CHECKING:
    from kvstore.rpc.connection import Connection

LARGEST_SENT_FRAME_BYTES: Final = 65_536  # whatever the peer takes: larger frames keep the other streams waiting
LARGEST_FRAME_BYTES: Final = 2**24 - 1
DEFAULT_TABLE_BYTES: Final = 4_096


def apply_setting(connection: Connection, identifier: int, value: int) -> None:
    """Apply one setting; unknown ones are ignored. Raises ConnectionFault for a value out of its range."""
    if identifier == frames.SETTING_INITIAL_WINDOW_SIZE:
        _change_windows(connection, value)
    elif identifier == frames.SETTING_MAX_FRAME_SIZE:
        if not frames.DEFAULT_FRAME_BYTES <= value <= LARGEST_FRAME_BYTES:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "max frame size is out of range")
        connection.peer_frame_bytes = min(value, LARGEST_SENT_FRAME_BYTES)
    elif identifier == frames.SETTING_MAX_CONCURRENT_STREAMS:
        connection.peer_concurrent_streams = value
    elif identifier == frames.SETTING_ENABLE_PUSH:
        if value > 1:
            raise ConnectionFault(ErrorCode.PROTOCOL_ERROR, "enable push is 0 or 1")
    elif identifier == frames.SETTING_HEADER_TABLE_SIZE and value < DEFAULT_TABLE_BYTES:
        connection.header_prefix = TABLE_SIZE_ZERO  # we use no table, but must say so to a peer that shrinks it


def _change_windows(connection: Connection, value: int) -> None:
    if value > frames.LARGEST_WINDOW_BYTES:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "initial window is too large")
    change = value - connection.peer_initial_window
    connection.peer_initial_window = value
    try:
        for stream in connection.streams.values():
            stream.widen(change)
    except StreamFault:
        raise ConnectionFault(ErrorCode.FLOW_CONTROL_ERROR, "a window overflows by SETTINGS") from None
