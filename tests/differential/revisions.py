"""Revisions relative to the base of a sequence.

In a drawn request a positive revision r stands for base - BEFORE + r; zero and negative ones are sent as they are. In an
answer a positive revision is moved the other way and to a range that nothing else is in, so that zero stays apart.
"""

from typing import Any

from google.protobuf.message import Message

BEFORE = 5  # so many revisions below the base can be named; they are compacted
SHOWN_FROM = 1_000_000

_ASKED = {"revision", "min_mod_revision", "max_mod_revision", "min_create_revision", "max_create_revision",
          "create_revision", "mod_revision", "start_revision", "rev"}  # fmt: skip
_ANSWERED = {"revision", "create_revision", "mod_revision", "compact_revision", "hash_revision", "rev"}


def to_absolute(request: Message, base: int) -> None:
    """Change the revisions of a drawn request into those of the server."""
    _shift(request, _ASKED, base - BEFORE)


def to_relative(response: Message, base: int) -> None:
    """Change the revisions of an answer so that they can be compared."""
    _shift(response, _ANSWERED, SHOWN_FROM - base)


def _shift(message: Message, names: set[str], by: int) -> None:
    for field, value in message.ListFields():
        if field.message_type is not None:
            for part in _parts(value):
                _shift(part, names, by)
        elif field.name in names and isinstance(value, int) and value > 0:
            setattr(message, field.name, max(value + by, 1))


def _parts(value: Any) -> list[Message]:
    return [value] if isinstance(value, Message) else list(value)
