"""Calls that wait for their turn: who has it is seen from the keys, so that nothing is waited for that cannot come."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from kvstore.pb import rpc_pb2 as rpc

Read = Callable[[rpc.RangeRequest], Awaitable[rpc.RangeResponse]]


@dataclass(slots=True)
class _Waiting:
    prefix: bytes
    key: bytes
    answer: asyncio.Task[Any]
    was_seen: bool = False  # its key


class Contest:
    """The contenders of one server that have no answer yet. `read` is a linearizable Range on it."""

    def __init__(self, read: Read) -> None:
        self._read = read
        self._waiting: list[_Waiting] = []

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def enter(self, name: bytes, lease: int, call: Awaitable[Any]) -> None:
        """Begin a call."""
        self._waiting.append(_Waiting(name + b"/", name + b"/%x" % lease, asyncio.ensure_future(call)))

    async def answers(self) -> list[Any]:
        """Return the answers, by key, of those whose turn it is or whose place is lost; the others go on waiting."""
        found = []
        for one in list(self._waiting):
            is_blocked = await self._is_blocked(one)  # asked first: one who lost his place hears of it at different times
            while not is_blocked and not one.answer.done():
                is_blocked = await self._is_blocked(one)
            if not is_blocked:
                self._waiting.remove(one)
                found.append((one.key, await one.answer))
        return found

    async def _is_blocked(self, one: _Waiting) -> bool:
        request = rpc.RangeRequest(
            key=one.prefix, range_end=one.prefix[:-1] + b"0", sort_order=rpc.RangeRequest.ASCEND,
            sort_target=rpc.RangeRequest.CREATE, keys_only=True,
        )  # fmt: skip
        keys = [pair.key for pair in (await self._read(request)).kvs]
        one.was_seen = one.was_seen or one.key in keys
        return one.was_seen and bool(keys) and keys[0] != one.key

    async def end(self) -> None:
        """Wait for all, when their keys are gone."""
        await asyncio.gather(*(one.answer for one in self._waiting), return_exceptions=True)
        self._waiting.clear()
