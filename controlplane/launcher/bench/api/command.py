"""`pilothouse bench api`: options, progress, and what is printed."""

import asyncio
import json
import signal
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from controlplane.launcher import show
from controlplane.launcher.bench.api import load
from controlplane.launcher.bench.api.measures import MEASURES, Measure, Options, Run
from controlplane.launcher.bench.api.system import ApiSystem
from controlplane.launcher.bench.numbers import shown
from controlplane.launcher.state import LauncherError


@dataclass(frozen=True, slots=True)
class Result:
    """One measure: our figure, the peer's (None: not known), ours divided by it, and what was to be reached."""

    name: str
    ours: float
    peer: float | None
    ratio: float | None
    unit: str
    better: str
    must: float | None
    aim: float | None
    verdict: str


def result(measure: Measure, ours: float) -> Result:
    """Judge a figure."""

    def reaches(wanted: float) -> bool:
        return ours >= wanted if measure.better == "higher" else ours <= wanted

    verdict = ""
    if measure.must is not None and measure.aim is not None:
        verdict = "aim reached" if reaches(measure.aim) else "reached" if reaches(measure.must) else "missed"
    ratio = ours / measure.peer if measure.peer else None
    return Result(
        measure.name, ours, measure.peer, ratio, measure.unit, measure.better, measure.must, measure.aim, verdict
    )


@click.command("api")
@click.option("--measures", default=",".join(one.name for one in MEASURES), show_default=True, help="Comma-separated.")
@click.option("--seconds", default=8.0, show_default=True, help="Of each run of wrk.")
@click.option("--listed", default=10_000, show_default=True, help="Objects of the list.")
@click.option("--kept", default=50_000, show_default=True, help="Objects whose memory is measured.")
@click.option("--watches", default=10_000, show_default=True)
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option(
    "--plot", type=click.Path(dir_okay=False, path_type=Path), help="Draw the figures into this SVG file too."
)
def api(measures: str, seconds: float, listed: int, kept: int, watches: int, output: str, plot: Path | None) -> None:
    """Load one API server over HTTPS and compare with what a kube-apiserver reached on such a machine."""
    known = {one.name: one for one in MEASURES}
    names = [name for name in measures.split(",") if name]
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"no such measure: {', '.join(unknown)}; there are {', '.join(known)}")
    load.installed()
    with tempfile.TemporaryDirectory(prefix="pilothouse-bench-") as name:
        options = Options(seconds, listed, kept, watches, Path(name))
        try:
            results = asyncio.run(_run([known[name] for name in names], options))
        except asyncio.CancelledError as error:
            raise LauncherError("stopped before the end; nothing is left behind") from error
    click.echo(json.dumps([asdict(one) for one in results], indent=2) if output == "json" else table(results, known))
    if plot is not None:
        from controlplane.launcher.bench.api.plot import draw

        draw(results, known, plot)


def table(results: Sequence[Result], known: dict[str, Measure]) -> str:
    """Return the table that a person reads."""
    rows = [
        (
            known[one.name].text,
            shown(one.ours),
            shown(one.peer) if one.peer else "-",
            f"{one.ratio:.2f}" if one.ratio else "-",
            one.unit,
            shown(one.must) if one.must else "-",
            shown(one.aim) if one.aim else "-",
            one.verdict,
        )
        for one in results
    ]
    return show.table(("MEASURE", "OURS", "PEER", "RATIO", "UNIT", "MUST", "AIM", ""), rows)


async def _run(measures: Sequence[Measure], options: Options) -> list[Result]:
    work = asyncio.current_task()
    assert work is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, work.cancel)  # no process is left behind
    results: list[Result] = []
    run: Run | None = None
    try:
        for number, measure in enumerate(measures):
            if run is None or measure.fresh:
                if run is not None:
                    await run.system.stop()
                run = Run(ApiSystem(options.folder / f"system-{number}"), options)
                await run.system.start()
            results.append(result(measure, await measure.run(run)))
            click.echo(f"{measure.name}: {shown(results[-1].ours)} {measure.unit} {results[-1].verdict}", err=True)
    finally:
        if run is not None:
            await run.system.stop()
    return results
