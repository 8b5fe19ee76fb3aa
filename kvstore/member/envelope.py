"""The data of an entry: what it is, who proposed it, and under which number; then the client's own bytes.

The number is `life << 32 | counter`; `life` is drawn anew at each start, so that the entries of an earlier life are
never taken for this one's. Whoever proposed an entry finds the waiter by it when the entry is applied.
"""

import struct
from enum import IntEnum

HEADER = struct.Struct(">BQQ")
HEADER_BYTES = HEADER.size


class Purpose(IntEnum):
    """COMMAND is for the state machine; PUBLISH is a member's own row in the table of members, CHANGE a change of it."""

    COMMAND = 0
    PUBLISH = 1
    CHANGE = 2


def seal_command(member_id: int, number: int, data: bytes) -> bytes:
    """A command of `member_id`."""
    return HEADER.pack(0, member_id, number) + data


def seal(purpose: Purpose, member_id: int, number: int, data: bytes) -> bytes:
    """Anything else."""
    return HEADER.pack(purpose, member_id, number) + data
