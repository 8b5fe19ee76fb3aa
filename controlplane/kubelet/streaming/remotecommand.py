"""exec and attach: the pumps between a session and a running command, and the Status that ends it."""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

from controlplane.kubelet.runtimes.port import RunningCommand
from controlplane.kubelet.streaming.sessions import Resize, Session, Stdin, Streams

log = logging.getLogger("controlplane.kubelet")

SUCCESS: Final[dict[str, Any]] = {"metadata": {}, "status": "Success"}


def exit_status(code: int) -> dict[str, Any]:
    """The Status of a command that has ended."""
    if code == 0:
        return SUCCESS
    return {
        "metadata": {},
        "status": "Failure",
        "message": f"command terminated with non-zero exit code: exit status {code}",
        "reason": "NonZeroExitCode",
        "details": {"causes": [{"reason": "ExitCode", "message": str(code)}]},
    }


def failure_status(text: str) -> dict[str, Any]:
    """The Status of a command that could not be run."""
    message = f"Internal error occurred: {text}"
    details = {"causes": [{"message": text}]}
    return {
        "metadata": {},
        "status": "Failure",
        "message": message,
        "reason": "InternalError",
        "details": details,
        "code": 500,
    }


async def serve(session: Session, command: RunningCommand, streams: Streams, *, is_exec: bool) -> None:
    """Carry bytes until the command ends (then say how) or the client goes (then the command is closed).

    The end of an attached container is no failure of the attachment: only exec reports an exit code.
    """
    inputs = asyncio.ensure_future(_inputs(session, command))
    outputs = asyncio.ensure_future(_outputs(session, command, streams))
    try:
        await asyncio.wait([inputs, outputs], return_when=asyncio.FIRST_COMPLETED)
        if outputs.done():
            code = outputs.result()
            inputs.cancel()
            await asyncio.gather(inputs, return_exceptions=True)
            await session.finish(exit_status(code) if is_exec else SUCCESS)
    except OSError as error:
        log.debug("the client of a remote command went away: %s", error)
    finally:
        for task in (inputs, outputs):
            task.cancel()
        await asyncio.gather(inputs, outputs, return_exceptions=True)
        await command.close()


async def _inputs(session: Session, command: RunningCommand) -> None:
    """Until the client is gone."""
    while True:
        said = await session.receive()
        if said is None:
            return
        if isinstance(said, Resize):
            command.resize(said.columns, said.rows)
        elif isinstance(said, Stdin) and said.data:
            await command.write(said.data)
        else:
            command.end_input()


async def _outputs(session: Session, command: RunningCommand, streams: Streams) -> int:
    """Until both outputs have ended; then the exit code."""

    async def pump(stream: str, wanted: bool) -> None:
        while data := await command.read(stream):
            if wanted:
                await session.send(stream, data)

    pumps = [asyncio.ensure_future(pump("stdout", streams.stdout))]
    if not streams.tty:
        pumps.append(asyncio.ensure_future(pump("stderr", streams.stderr)))
    try:
        await asyncio.gather(*pumps)
    finally:
        for task in pumps:
            task.cancel()
    return await command.wait()
