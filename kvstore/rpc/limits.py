"""The named limits of a connection, and the allowance (token bucket) that bounds frames which cost us and not the peer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from kvstore.rpc.frames import DEFAULT_FRAME_BYTES, ConnectionFault, ErrorCode
from kvstore.rpc.messages import DEFAULT_MESSAGE_BYTES


@dataclass(frozen=True, slots=True)
class Limits:
    """What one connection may ask of us."""

    message_bytes: int = DEFAULT_MESSAGE_BYTES
    header_list_bytes: int = 64 * 1024
    continuation_frames: int = 32
    frame_bytes: int = DEFAULT_FRAME_BYTES
    stream_window_bytes: int = 1024 * 1024
    connection_window_bytes: int = 16 * 1024 * 1024
    concurrent_streams: int = 16_384
    unfinished_bytes: int = 64 * 1024 * 1024  # parts of messages that wait for their rest, over all streams
    resets_per_second: int = 5_000  # a client may well cancel thousands of calls at once when their deadlines pass
    control_frames_per_second: int = 5_000  # PING, SETTINGS, PRIORITY, empty DATA, unknown frames
    write_buffer_bytes: int = 256 * 1024  # above it the transport is "full" and data waits in its stream
    write_turn_bytes: int = 1024 * 1024  # data moved from streams to the transport in one turn of the loop
    hello_seconds: float = 20.0  # until a new connection has said which protocol it speaks
    close_seconds: float = 5.0  # for the last bytes to a peer that does not read
    http1_body_bytes: int = 4 * 1024 * 1024
    http1_header_bytes: int = 64 * 1024


CLIENT_LIMITS: Final = Limits(
    message_bytes=2**31 - 1, resets_per_second=100_000, control_frames_per_second=100_000
)  # a server was chosen, it did not come by itself: it may send large answers, and reset all calls when it stops


class Allowance:
    """A token bucket: `rate` events a second, twice that at once."""

    __slots__ = ("_clock", "_filled_at", "_rate", "_text", "_tokens")

    def __init__(self, rate: int, text: str, clock: Callable[[], float]) -> None:
        self._rate = rate
        self._text = text
        self._clock = clock
        self._tokens = 2.0 * rate
        self._filled_at = clock()

    def spend(self) -> None:
        """Take one token, or raise ConnectionFault(ENHANCE_YOUR_CALM)."""
        if self._tokens < 1.0:
            now = self._clock()
            self._tokens = min(2.0 * self._rate, self._tokens + (now - self._filled_at) * self._rate)
            self._filled_at = now
            if self._tokens < 1.0:
                raise ConnectionFault(ErrorCode.ENHANCE_YOUR_CALM, self._text)
        self._tokens -= 1.0
