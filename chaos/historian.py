"""Who writes down what the store did: a watch of everything from revision 1, which goes on while faults come and go."""

import asyncio
from collections.abc import Sequence

from chaos.history import History, Logged
from chaos.watching import Event
from chaos.workloads.session import Recorder
from chaos.workloads.watch import as_event

__all__ = ["Historian"]

END_KEY = "chaos/end"
HISTORIAN = -2
EVERYTHING = b"\0"


class Historian:
    """Begin before the first write; `finish` returns when all has been told. The history may be compacted up to `told`."""

    def __init__(self, endpoints: Sequence[str], history: History) -> None:
        self._client = Recorder(endpoints, HISTORIAN, history)
        self.log: list[Logged] = []
        self.events: list[Event] = []
        self.deleted: dict[str, tuple[int, float]] = {}  # the last deletion of a key: revision, when we were told
        self.told = 0
        self._last: dict[str, int] = {}
        self._task = asyncio.create_task(self._write_down())
        self._told = asyncio.Event()

    async def _write_down(self) -> None:
        loop = asyncio.get_running_loop()
        async for batch in self._client.watch(EVERYTHING, EVERYTHING, start_revision=1):
            for event in batch.events:
                self._add(as_event(event), event.kv.lease, loop.time())
            self._told.set()

    def _add(self, event: Event, lease: int, now: float) -> None:
        previous = self._last.get(event.key)
        if event.is_delete:
            self._last.pop(event.key, None)
            self.deleted[event.key] = (event.revision, now)
        else:
            self._last[event.key] = event.revision
        self.events.append(
            Event(
                event.revision, event.key, event.is_delete, event.value, event.create_revision, event.version, previous
            )
        )
        self.log.append(Logged(event.revision, event.key, None if event.is_delete else event.value, lease))
        self.told = event.revision

    async def finish(self, seconds: float) -> None:
        """Write a mark and wait until it was told. Raises TimeoutError."""
        async with asyncio.timeout(seconds):
            mark = (await self._client.put(END_KEY.encode(), b"end")).header.revision
            while self.told < mark:
                self._told.clear()
                waiting = asyncio.create_task(self._told.wait())
                await asyncio.wait({waiting, self._task}, return_when=asyncio.FIRST_COMPLETED)
                waiting.cancel()
                if self._task.done():
                    self._task.result()
                    raise ConnectionError("the watch of everything ended")

    async def close(self) -> None:
        """Stop."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        await self._client.close()
