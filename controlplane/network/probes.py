"""Is a master alive and ready?  One standing connection per backend tells of its death at once; a slow question tells of a hang.

A backend is DOWN when it refuses, or when it has not answered three questions in a row; UNREADY when it does not answer, or
answers /readyz with an error: it gets no new clients, but one that is only busy must not lose those it has. Failures are asked
again with growing delay.
"""

import asyncio
import logging
import ssl
from collections.abc import Callable
from typing import Final

from controlplane.network.backends import Health
from controlplane.network.forwarder import Backend

log = logging.getLogger("controlplane.network")

SILENT_LIMIT: Final = 3
FIRST_DELAY_SECONDS: Final = 0.1
MAX_DELAY_SECONDS: Final = 2.0
REQUEST: Final = "GET /readyz HTTP/1.1\r\nHost: {}\r\nUser-Agent: pilothouse-loadbalancer\r\nAccept: */*\r\n\r\n"


class Silent(Exception):
    """The backend took the connection but did not answer in time, or not sensibly."""


class Prober:
    """Watches one backend. `run` in a task of its own; `suspect` asks for a look now."""

    def __init__(
        self,
        backend: Backend,
        tell: Callable[[Backend, Health], None],
        *,
        ssl_context: ssl.SSLContext | None,
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self.backend = backend
        self._tell = tell
        self._ssl = ssl_context
        self._interval = interval_seconds
        self._timeout = timeout_seconds
        self._suspicion = asyncio.Event()
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    def suspect(self) -> None:
        """Somebody was refused: look now."""
        self._suspicion.set()

    async def run(self) -> None:
        """Ask until cancelled."""
        silent, delay = 0, FIRST_DELAY_SECONDS
        try:
            while True:
                self._suspicion.clear()
                health = await self._look()
                silent = 0 if health is not None else silent + 1
                if health is None:
                    health = Health.DOWN if silent >= SILENT_LIMIT else Health.UNREADY
                self._tell(self.backend, health)
                if health is Health.READY:
                    delay = FIRST_DELAY_SECONDS
                    await self._until_cue()
                else:
                    await asyncio.sleep(delay)
                    delay = min(2 * delay, MAX_DELAY_SECONDS)
        finally:
            self._hang_up()

    async def _look(self) -> Health | None:
        """The backend's health; None when it is silent."""
        fresh = self._writer is None
        try:
            async with asyncio.timeout(self._timeout):
                return await self._ask()
        except (TimeoutError, Silent) as error:
            self._hang_up()
            log.debug("%s is silent: %s", self.backend, error)
            return None
        except ssl.SSLError as error:
            self._hang_up()
            log.warning("%s: %s", self.backend, error)
            return Health.UNREADY  # it lives, and its clients may know better
        except (OSError, asyncio.IncompleteReadError) as error:
            self._hang_up()
            log.debug("%s: %s", self.backend, error)
            # The standing connection may have ended for many reasons; only a new one that fails tells of a death.
            return Health.DOWN if fresh else await self._look()

    async def _ask(self) -> Health:
        if self._reader is None or self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                self.backend.host, self.backend.port, ssl=self._ssl, server_hostname="" if self._ssl else None
            )
        if self._ssl is None:
            return Health.READY
        self._writer.write(REQUEST.format(self.backend).encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        status = head.split(" ", 2)[1:2]
        if not head.startswith("HTTP/1.1 ") or not status[0].isdigit():
            raise Silent(head[:40])
        await self._skip_body(head)
        return Health.READY if int(status[0]) < 500 else Health.UNREADY

    async def _skip_body(self, head: str) -> None:
        assert self._reader is not None
        fields = dict(line.lower().split(":", 1) for line in head.split("\r\n")[1:] if ":" in line)
        length = fields.get("content-length", "").strip()
        if length.isdigit() and "close" not in fields.get("connection", ""):
            await self._reader.readexactly(int(length))
        else:
            self._hang_up()

    async def _until_cue(self) -> None:
        """Until the standing connection ends, somebody is refused, or the interval is over."""
        suspicion = asyncio.ensure_future(self._suspicion.wait())
        ended = asyncio.ensure_future(self._reader.read(1)) if self._reader is not None else None
        waits = {suspicion} if ended is None else {suspicion, ended}
        # Without a question to ask, only events count.
        timeout = self._interval if self._ssl is not None else None
        try:
            await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
            if ended is not None and ended.done():
                ended.exception()
                self._hang_up()
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)

    def _hang_up(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None
