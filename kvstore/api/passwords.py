"""Passwords: bcrypt off the loop, and a memory of those that were right, so that a check is cheap the next time.

A hash costs tens of milliseconds of a processor by design. What is remembered is a keyed digest of the password beside the
hash that it matched: another password, or another hash of the user, is looked at anew. The key lives as long as the process.

    hash(password, done)            done(the bcrypt hash)
    check(password, hashed, done)   done(whether it matches), maybe at once
"""

import asyncio
import hashlib
import hmac
from collections import OrderedDict
from collections.abc import Callable
from random import Random
from typing import TypeVar

__all__ = ["Passwords"]

DEFAULT_COST = 10
MIN_COST, MAX_COST = 4, 31
MAX_PASSWORD_BYTES = 72  # bcrypt looks at no more
MAX_REMEMBERED = 10_000
_SALT_LETTERS = 22  # of bcrypt's base64: 16 bytes, whose last letter holds two bits only
_ALPHABET = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_LAST_LETTERS = ".Oeu"
_Result = TypeVar("_Result")


class Passwords:
    """`random` must be one that nobody can predict (random.SystemRandom), but in a simulation."""

    def __init__(self, random: Random, cost: int = DEFAULT_COST) -> None:
        self._random = random
        self._cost = cost if MIN_COST <= cost <= MAX_COST else DEFAULT_COST
        self._key = random.randbytes(32)
        self._right: OrderedDict[tuple[bytes, bytes], None] = OrderedDict()  # (digest, hash that it matched)
        self._tasks: set[asyncio.Future[None]] = set()

    def hash(self, password: str, done: Callable[[bytes], None]) -> None:
        """Hash a password of at most MAX_PASSWORD_BYTES."""
        letters = "".join(self._random.choice(_ALPHABET) for _ in range(_SALT_LETTERS - 1))
        salt = f"$2a${self._cost:02d}${letters}{self._random.choice(_LAST_LETTERS)}".encode()
        import bcrypt  # here: a member without auth starts sooner without it

        encoded = password.encode()
        self._run(lambda: bcrypt.hashpw(encoded, salt), done)

    def check(self, password: str, hashed: bytes, done: Callable[[bool], None]) -> None:
        """Compare a password with the hash that is stored for the user."""
        encoded = password.encode()[:MAX_PASSWORD_BYTES]
        name = (hmac.digest(self._key, encoded, hashlib.sha256), hashed)
        if name in self._right:
            self._right.move_to_end(name)
            done(True)
            return

        def finish(is_right: bool) -> None:
            if is_right:
                self._right[name] = None
                if len(self._right) > MAX_REMEMBERED:
                    self._right.popitem(last=False)
            done(is_right)

        self._run(lambda: _matches(encoded, hashed), finish)

    def _run(self, work: Callable[[], _Result], done: Callable[[_Result], None]) -> None:
        """Run `work` in a thread (bcrypt lets go of the interpreter) and hand its result over in the loop."""

        async def run() -> None:
            done(await asyncio.to_thread(work))

        task = asyncio.ensure_future(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _matches(password: bytes, hashed: bytes) -> bool:
    import bcrypt

    try:
        return bcrypt.checkpw(password, hashed)
    except ValueError:  # a user without a password, or a record that is damaged
        return False
