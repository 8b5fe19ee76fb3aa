"""What the API server takes from the world besides the network: the time of day and chance, both injectable."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

SECONDS_LENGTH = len("2006-01-02T15:04:05")
NAME_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"


# The first digit of a UUID's fourth group carries the variant (RFC 9562): its upper two bits are 10.
_VARIANTS = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _system_now() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Environment:
    """The clock (aware UTC datetimes) and the source of randomness of one API server."""

    now: Callable[[], datetime]
    random: random.Random
    entropy: Callable[[int], bytes] | None = None  # bytes that nobody can foretell; None: from `random`, for replays

    @classmethod
    def system(cls) -> Environment:
        """The real clock, and randomness seeded by the operating system: call it after a fork, not before."""
        return cls(_system_now, random.Random(random.SystemRandom().getrandbits(256)), os.urandom)

    def timestamp(self) -> str:
        """Now, as `metadata.creationTimestamp` writes it: seconds, `Z`."""
        return self.now().isoformat(timespec="seconds")[:SECONDS_LENGTH] + "Z"  # a third of the time of strftime

    def micro_timestamp(self) -> str:
        """Now, as a `MicroTime` writes it."""
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def secret_bytes(self, count: int) -> bytes:
        """Random bytes for nonces and keys."""
        return (self.entropy or self.random.randbytes)(count)

    def uid(self) -> str:
        """A random UUID (version 4)."""
        text = f"{self.random.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{_VARIANTS[text[16]]}{text[17:20]}-{text[20:]}"

    def name_suffix(self, length: int = 5) -> str:
        """The random end of a generated name, from the alphabet that spells no words."""
        return "".join(self.random.choice(NAME_ALPHABET) for _ in range(length))
