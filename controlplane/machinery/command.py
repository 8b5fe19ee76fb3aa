"""What the commands of all components share: durations, election flags, and a run until SIGTERM.

@click.command()
@election_options("kube-scheduler")                     adds --leader-elect and its five companions, and --identity
@VERBOSITY
def scheduler(verbosity, **flags):
    config = SchedulerConfig(..., **election_fields(flags))
    run_until_signalled("controlplane.scheduler", verbosity, lambda stop, ready: run(config, stop=stop, ready=ready))
"""

import asyncio
import logging
import re
import secrets
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import click

__all__ = [
    "VERBOSITY",
    "Duration",
    "Start",
    "election_fields",
    "election_options",
    "parse_duration",
    "run_until_signalled",
]

UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6}
PART = re.compile(r"(\d+(?:\.\d+)?)(ms|us|h|m|s)")
DEBUGGING = 4  # the verbosity from which Kubernetes' programs tell everything

Start = Callable[[asyncio.Event, Callable[[], None]], Awaitable[None]]

VERBOSITY = click.option("-v", "--v", "verbosity", type=int, default=0, help="0: information; 4 and more: debugging.")


class Duration(click.ParamType[float]):
    """A duration as Kubernetes' flags write it (15s, 500ms, 1m30s, 0), as seconds."""

    name = "duration"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Seconds; a number is taken as it is."""
        if isinstance(value, int | float):
            return float(value)
        try:
            return parse_duration(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


def parse_duration(text: str) -> float:
    """Seconds in a duration as Go writes it; raises ValueError."""
    if text == "0":
        return 0.0
    parts = PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"{text!r} is not a duration such as 15s, 500ms or 1m30s")
    return sum(float(number) * UNITS[unit] for number, unit in parts)


def election_options(resource_name: str) -> Callable[[Any], Any]:
    """Add the flags of leader election; `election_fields` takes them out again."""
    options = (
        click.option(
            "--leader-elect", type=bool, is_flag=False, flag_value=True, default=True, show_default=True,
            help="Work only while holding the Lease.",
        ),
        click.option("--leader-elect-lease-duration", type=Duration(), default="15s", show_default=True),
        click.option("--leader-elect-renew-deadline", type=Duration(), default="10s", show_default=True),
        click.option("--leader-elect-retry-period", type=Duration(), default="2s", show_default=True),
        click.option("--leader-elect-resource-name", default=resource_name, show_default=True),
        click.option("--leader-elect-resource-namespace", default="kube-system", show_default=True),
        click.option("--identity", default="", help="This candidate's name.  [default: the host's name and a random part]"),
    )  # fmt: skip

    def decorate(function: Any) -> Any:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def election_fields(flags: dict[str, Any]) -> dict[str, Any]:
    """Take the election's flags out of `flags`; as the fields that every elected component's configuration has."""
    return {
        "identity": flags.pop("identity") or f"{socket.gethostname()}_{secrets.token_hex(4)}",
        "leader_elect": flags.pop("leader_elect"),
        "leader_elect_lease_duration_seconds": flags.pop("leader_elect_lease_duration"),
        "leader_elect_renew_deadline_seconds": flags.pop("leader_elect_renew_deadline"),
        "leader_elect_retry_period_seconds": flags.pop("leader_elect_retry_period"),
        "leader_elect_resource_name": flags.pop("leader_elect_resource_name"),
        "leader_elect_resource_namespace": flags.pop("leader_elect_resource_namespace"),
    }


def run_until_signalled(logger_name: str, verbosity: int, start: Start) -> None:
    """Run one component in the foreground until SIGTERM or SIGINT; what it cannot serve is one line and exit code 1."""
    logging.basicConfig(
        level=logging.DEBUG if verbosity >= DEBUGGING else logging.INFO,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )

    async def main() -> None:
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        await start(stop, lambda: logging.getLogger(logger_name).info("ready"))

    try:
        with asyncio.Runner(loop_factory=new_loop) as runner:
            runner.run(main())
    except (ValueError, OSError) as error:
        raise click.ClickException(str(error)) from error


def new_loop() -> asyncio.AbstractEventLoop:
    """uvloop where there is one."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
