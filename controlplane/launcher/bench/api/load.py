"""Equal requests for so many seconds on so many connections, by wrk: 2 % of the cost of a client in Python."""

import asyncio
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from controlplane.launcher.state import LauncherError

PROGRAM = "wrk"
TIMEOUT_SECONDS = 10
_DONE = r"""
done = function(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\n{"requests": %d, "microseconds": %d, "failed": %d, "p50": %d, "p99": %d}\n',
    summary.requests, summary.duration, errors.status + errors.connect + errors.read + errors.write + errors.timeout,
    latency:percentile(50), latency:percentile(99)))
end
"""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run of wrk counted; latencies in seconds."""

    requests: int
    per_second: float
    p50: float
    p99: float


def installed() -> str:
    """The path of wrk; raises LauncherError with how to get it."""
    found = shutil.which(PROGRAM)
    if found is None:
        raise LauncherError(
            "wrk is not installed, and nothing in Python loads the server without being the limit (Debian: apt install wrk)"
        )
    return found


def creating(path: str, body: str, token: str, run: str) -> str:
    """A script that posts `body` with names of their own: RUN-1, RUN-2, ..."""
    return f"""
local number = 0
local body = [=[{body}]=]
local headers = {{["authorization"] = "Bearer {token}", ["content-type"] = "application/json"}}
request = function()
  number = number + 1
  return wrk.format("POST", "{path}", headers, string.format(body, "{run}-" .. number))
end
{_DONE}"""


def getting(paths: list[str], token: str) -> str:
    """A script that gets the paths one after another, again and again."""
    listed = ", ".join(f'"{path}"' for path in paths)
    return f"""
local number = 0
local headers = {{["authorization"] = "Bearer {token}"}}
local requests = {{}}
init = function(args)
  for index, path in ipairs({{{listed}}}) do requests[index] = wrk.format("GET", path, headers) end
end
request = function()
  number = number % #requests + 1
  return requests[number]
end
{_DONE}"""


async def run(server: str, script: str, connections: int, seconds: float, folder: Path) -> Outcome:
    """Load `server` (https://...); raises LauncherError when a request failed."""
    path = folder / "load.lua"
    path.write_text(script)
    arguments = ["--threads=1", f"--connections={connections}", f"--duration={max(round(seconds), 1)}s",
                 f"--timeout={TIMEOUT_SECONDS}s", f"--script={path}", server]  # fmt: skip
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(installed(), *arguments, stdout=pipe, stderr=pipe)
    try:
        output, errors = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    text = output.decode()
    if process.returncode:
        raise LauncherError(f"wrk failed: {(text + errors.decode())[-500:]}")
    counted = json.loads(text[text.rindex("\n{") :])
    if counted["failed"] or not counted["requests"]:
        raise LauncherError(f"wrk: {counted['failed']} of {counted['requests']} requests failed")
    return Outcome(
        counted["requests"],
        counted["requests"] / counted["microseconds"] * 1e6,
        counted["p50"] / 1e6,
        counted["p99"] / 1e6,
    )
