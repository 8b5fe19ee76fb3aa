"""`pilothouse bench kv`: options, rounds, and what is printed."""

import asyncio
import json
import shutil
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import TextIO

import click

from controlplane.launcher import show
from controlplane.launcher.bench.api.command import api
from controlplane.launcher.bench.measures import MEASURES, Measure, Options
from controlplane.launcher.bench.numbers import shown
from controlplane.launcher.bench.plot import draw, times
from controlplane.launcher.bench.system import OURS_COMMAND, System
from controlplane.launcher.state import LauncherError


@dataclass(frozen=True, slots=True)
class Result:
    """One measure: the medians of both, ours divided by the peer's, and what that must reach and should."""

    name: str
    text: str
    ours: float
    peer: float
    ratio: float
    unit: str
    better: str
    must: float | None
    aim: float | None


@click.group()
def bench() -> None:
    """Compare with a peer, both in one sitting."""


bench.add_command(api)


@bench.command("kv")
@click.option("--measures", default=",".join(one.name for one in MEASURES), show_default=True, help="Comma-separated.")
@click.option(
    "--rounds", default=3, show_default=True, help="Of each measure: ours, peer, ours, peer, ...; the median counts."
)
@click.option("--requests", default=20_000, show_default=True, help="Of a round.")
@click.option("--keys", default=100_000, show_default=True, help="To load.")
@click.option("--watchers", default=1_000, show_default=True)
@click.option("--peer", default="etcd", show_default=True, help="The etcd to compare with: a name on PATH, or a path.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the ratios into this file, as SVG.")
def kv(
    measures: str, rounds: int, requests: int, keys: int, watchers: int, peer: str, output: str, plot: Path | None
) -> None:
    """Compare the store with a real etcd: three members each, on this machine, on the disk of the temporary directory."""
    known = {one.name: one for one in MEASURES}
    names = [name for name in measures.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"no such measure: {', '.join(unknown)}; there are {', '.join(known)}")
    program = shutil.which(peer)
    if program is None:
        raise LauncherError(f"no {peer} found to compare with (Debian: etcd-server; --peer names another)")
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as name:
        options = Options(requests, keys, watchers, Path(name))
        try:
            results = _run([known[name] for name in names], rounds, options, program)
        except asyncio.CancelledError as error:
            raise LauncherError("stopped before the end; nothing is left behind") from error
    if plot is not None:
        plot.write_text(draw(results))
    if output == "json":
        click.echo(json.dumps([asdict(result) for result in results], indent=2))
    else:
        click.echo(table(results))


@bench.command("plot")
@click.argument("results", type=click.File())
@click.argument("picture", type=click.Path(dir_okay=False, path_type=Path))
def plot_results(results: TextIO, picture: Path) -> None:
    """Draw what `kv --output json` printed, from one or more runs in one list, as SVG."""
    try:
        picture.write_text(draw([Result(**one) for one in json.load(results)]))
    except (ValueError, TypeError) as error:
        raise click.BadParameter(f"not the output of `bench kv --output json`: {error}") from error


def table(results: Sequence[Result]) -> str:
    """Return the table that a person reads."""
    rows = [
        (
            one.text,
            shown(one.ours),
            shown(one.peer),
            one.unit,
            f"{one.ratio:.2f}",
            f"{one.better} is better",
            verdict(one),
        )
        for one in results
    ]
    return show.table(("MEASURE", "OURS", "PEER", "UNIT", "RATIO", "", ""), rows)


def verdict(one: Result) -> str:
    """Say how the ratio stands to its goals."""
    if one.must is None or one.aim is None:
        return ""
    value = times(one.ratio, one.better)
    if value >= times(one.aim, one.better):
        return f"aim {one.aim:g} reached"
    return f"must {one.must:g} {'reached' if value >= times(one.must, one.better) else 'missed'}, aim {one.aim:g}"


def _run(measures: Sequence[Measure], rounds: int, options: Options, program: str) -> list[Result]:
    try:
        import uvloop
    except ImportError:
        return asyncio.run(_compare(measures, rounds, options, program))
    return uvloop.run(_compare(measures, rounds, options, program))


async def _compare(measures: Sequence[Measure], rounds: int, options: Options, program: str) -> list[Result]:
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)  # no process is left behind
    systems = [System("ours", OURS_COMMAND, options.folder), System("peer", [program], options.folder)]
    try:
        for system in systems:
            await system.start()
        return [await _measure(measure, systems, 1 if measure.once else rounds, options) for measure in measures]
    finally:
        for system in systems:
            await system.stop()


async def _measure(measure: Measure, systems: Sequence[System], rounds: int, options: Options) -> Result:
    figures: dict[str, list[float]] = {system.name: [] for system in systems}
    for number in range(rounds):
        for system in systems:
            figures[system.name].append(await measure.run(system, options))
            click.echo(
                f"{measure.name} {number + 1}/{rounds} {system.name}: {shown(figures[system.name][-1])} {measure.unit}",
                err=True,
            )
    ours, peer = median(figures["ours"]), median(figures["peer"])
    ratio = ours / peer if peer else float("inf")
    return Result(
        measure.name, measure.text, ours, peer, ratio, measure.unit, measure.better, measure.must, measure.aim
    )
