"""Reads of single keys, together: those that are asked in one turn of the loop go to the store as one transaction.

Each is still a quorum read that begins after it was asked for; a transaction that only reads takes no entry of the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from kvstore.client import Client
from kvstore.pb import rpc_pb2

READS_TOGETHER: Final = 64  # a transaction of etcd has 128 operations at most

Read = tuple[bytes, bool]  # key, and whether its revisions alone are wanted
Found = tuple[Any, int]  # the pair (None: no such key) and the store's revision


class Reads:
    """Gathers reads; one request a turn while there are any."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._asked: list[tuple[Read, asyncio.Future[Found]]] = []
        self._running: set[asyncio.Task[None]] = set()

    def ask(self, key: bytes, *, keys_only: bool = False) -> asyncio.Future[Found]:
        """What will be known of a key; raises what the client raises."""
        loop = asyncio.get_running_loop()
        if not self._asked:
            loop.call_soon(self._send)
        answer: asyncio.Future[Found] = loop.create_future()
        self._asked.append(((key, keys_only), answer))
        return answer

    def _send(self) -> None:
        asked, self._asked = self._asked, []
        for start in range(0, len(asked), READS_TOGETHER):
            task = asyncio.get_running_loop().create_task(self._run(asked[start : start + READS_TOGETHER]))
            self._running.add(task)
            task.add_done_callback(self._running.discard)

    async def _run(self, asked: Sequence[tuple[Read, asyncio.Future[Found]]]) -> None:
        try:
            found = await self._read([read for read, _ in asked])
        except asyncio.CancelledError:
            for _, answer in asked:
                answer.cancel()
            raise
        except Exception as error:  # whoever asked is told, and decides
            for _, answer in asked:
                if not answer.done():
                    answer.set_exception(error)
            return
        for (_, answer), one in zip(asked, found):
            if not answer.done():
                answer.set_result(one)

    async def _read(self, reads: list[Read]) -> list[Found]:
        if len(reads) == 1:
            key, keys_only = reads[0]
            answer = await self._client.range(key, limit=1, keys_only=keys_only)
            return [(answer.kvs[0] if answer.kvs else None, answer.header.revision)]
        operations = [
            rpc_pb2.RequestOp(request_range=rpc_pb2.RangeRequest(key=key, limit=1, keys_only=keys_only))
            for key, keys_only in reads
        ]
        together = await self._client.txn((), operations)
        revision = together.header.revision
        pairs = [each.response_range.kvs for each in together.responses]
        return [(kvs[0] if kvs else None, revision) for kvs in pairs]

    async def close(self) -> None:
        """Nobody asks any more."""
        await asyncio.gather(*self._running, return_exceptions=True)
