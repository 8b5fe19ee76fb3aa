"""Equal requests, so many in flight: h2load where it is installed, else our channel in a process of its own.

As a program, `python -m controlplane.launcher.bench.hammer ENDPOINT METHOD BODY-FILE REQUESTS IN-FLIGHT`, it prints requests a
second.
"""

import asyncio
import re
import shutil
import sys
from pathlib import Path
from time import perf_counter

from controlplane.launcher.state import LauncherError
from kvstore.rpc import Channel

CONNECTIONS = 8
PREFIX_BYTES = 5  # of a gRPC message: not compressed, length


async def hammer(endpoint: str, method: str, request: bytes, requests: int, in_flight: int, folder: Path) -> float:
    """Return requests a second; raises LauncherError when one of them did not succeed over HTTP."""
    body = folder / "body"
    program = shutil.which("h2load")
    if program is None:
        body.write_bytes(request)
        own = [sys.executable, "-m", "controlplane.launcher.bench.hammer", endpoint, method, str(body)]
        return float(await _output([*own, str(requests), str(in_flight)]))
    body.write_bytes(b"\0" + len(request).to_bytes(PREFIX_BYTES - 1, "big") + request)
    text = await _output(
        [program, f"--requests={requests}", f"--clients={CONNECTIONS}", f"--max-concurrent-streams={in_flight // CONNECTIONS}",
         f"--data={body}", "--header=content-type: application/grpc", "--header=te: trailers",
         f"http://{endpoint}/etcdserverpb.{method}"]
    )  # fmt: skip
    rate = re.search(r"finished in .*?, ([0-9.]+) req/s", text)
    succeeded = re.search(r"(\d+) succeeded", text)
    if rate is None or succeeded is None or int(succeeded[1]) < requests:
        raise LauncherError(f"h2load against {endpoint}: {text[-500:]}")
    return float(rate[1])


async def _output(command: list[str]) -> str:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    if process.returncode:
        raise LauncherError(f"{command[0]} failed: {errors.decode(errors='replace')[-500:]}")
    return output.decode()


async def own_channel(endpoint: str, method: str, request: bytes, requests: int, in_flight: int) -> float:
    """Return requests a second through our own channels."""
    channels = [Channel(endpoint) for _ in range(CONNECTIONS)]
    left = requests

    async def work(channel: Channel) -> None:
        nonlocal left
        while left > 0:
            left -= 1
            await channel.unary(f"/etcdserverpb.{method}", request)

    for channel in channels:
        await channel.connect()
    started = perf_counter()
    await asyncio.gather(*(work(channels[number % CONNECTIONS]) for number in range(in_flight)))
    seconds = perf_counter() - started
    for channel in channels:
        await channel.close()
    return requests / seconds


def main() -> None:
    endpoint, method, body, requests, in_flight = sys.argv[1:]
    print(asyncio.run(own_channel(endpoint, method, Path(body).read_bytes(), int(requests), int(in_flight))))


if __name__ == "__main__":
    main()
