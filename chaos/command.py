"""`pilothouse chaos run | list | check | report`: faults on a real store of real processes, and a verdict.

Exit codes: 0 all promises held, 1 the run itself failed, 2 bad options, 3 a safety violation, 4 not live.
"""

import asyncio
import shutil
import signal
import tempfile
import time
from pathlib import Path
from random import Random

import click

from chaos.checkers import CHECKERS
from chaos.faults import FAULTS
from chaos.history import save_history
from chaos.report.command import check_command, report_command
from chaos.runner import Options, Report, run
from chaos.summary import show
from chaos.target import ETCD, PILOTHOUSE, Feature, Program, Target
from chaos.workloads import WORKLOADS

EXIT_UNSAFE = 3
EXIT_NOT_LIVE = 4
PROGRAMS = {"pilothouse": PILOTHOUSE, "etcd": ETCD}
FAST_TIMERS = {"heartbeat-interval": "50", "election-timeout": "500", "snapshot-count": "100"}


@click.group()
def chaos() -> None:
    """Faults on a real cluster, and proof of what it kept."""


chaos.add_command(check_command)
chaos.add_command(report_command)


@chaos.command("list")
def list_() -> None:
    """List faults (and why one cannot be injected here), workloads and checkers."""
    for name, fault in FAULTS.items():
        why_not = fault.why_not(True)
        click.echo(f"fault     {name:22} {fault.summary}{f'  [not here: {why_not}]' if why_not else ''}")
    for name, workload in WORKLOADS.items():
        click.echo(f"workload  {name:22} keys under {workload.scope.prefix}")
    click.echo(f"checkers  {', '.join(CHECKERS)}")


def _names(known: dict[str, object], given: str, what: str) -> tuple[str, ...]:
    names = tuple(known) if given == "all" else tuple(name for name in given.split(",") if name)
    unknown = [name for name in names if name not in known]
    if unknown:
        raise click.BadParameter(f"no such {what}: {', '.join(unknown)}; there are {', '.join(known)}")
    return names


@chaos.command("run")
@click.option("--faults", default="all", show_default=True, help="Comma-separated; see `pilothouse chaos list`.")
@click.option("--workload", default="register", show_default=True, help="Comma-separated, or all.")
@click.option("--minutes", type=float, default=1.0, show_default=True)
@click.option("--clients", default=8, show_default=True, help="Of each workload.")
@click.option("--members", default=3, show_default=True)
@click.option("--overlap", default=2, show_default=True, help="How many faults may be there at once.")
@click.option("--pace", default=1.0, show_default=True, help="So many times as many faults in the same time.")
@click.option(
    "--seed", type=int, default=None, help="Of every choice of the run; by default from the clock, and printed."
)
@click.option("--target", default="pilothouse", show_default=True, type=click.Choice(list(PROGRAMS)), help="The store.")
@click.option("--history", "history_file", type=click.Path(path_type=Path), help="Keep the history in this file.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def run_command(
    faults: str, workload: str, minutes: float, clients: int, members: int, overlap: int, pace: float,
    seed: int | None, target: str, history_file: Path | None, output: str,
) -> None:  # fmt: skip
    """Start a store in a temporary directory, hurt it for some minutes, and check every promise."""
    program = PROGRAMS[target]
    names = _names(dict(FAULTS), faults, "fault")
    skipped = {name: why for name in names if (why := _why_not(name, names, program))}
    chosen = time.time_ns() % 1_000_000 if seed is None else seed
    options = Options(
        faults=tuple(name for name in names if name not in skipped), workloads=_names(dict(WORKLOADS), workload, "workload"),
        seconds=minutes * 60, clients=clients, seed=chosen, overlap=overlap,
        fault_seconds=(0.5 / pace, 4 / pace), calm_seconds=(0.5 / pace, 2 / pace),
    )  # fmt: skip
    for name, why in skipped.items():
        click.echo(f"skipped {name}: {why}", err=True)
    click.echo(f"seed {chosen}", err=True)
    folder = Path(tempfile.mkdtemp(prefix="pilothouse-chaos-"))
    try:
        report = asyncio.run(_run(folder, program, members, options))
    except* TimeoutError as errors:
        click.echo(
            f"NOT LIVE: the store did not serve again ({errors.exceptions[0]}); its files are in {folder}", err=True
        )
        raise SystemExit(EXIT_NOT_LIVE) from errors
    report.skipped.update(skipped)
    _conclude(report, folder, history_file, output)


def _why_not(name: str, names: tuple[str, ...], program: Program) -> str:
    """Members are behind proxies, or behind the switch: what the first of the two kinds needs decides."""
    layers = (Feature.LINKS, Feature.SWITCH)
    wanted = [layer for other in names for layer in layers if layer in FAULTS[other].needs]
    mine = [layer for layer in layers if layer in FAULTS[name].needs]
    if mine and mine[0] is not wanted[0]:
        return f"the members of this run are behind {wanted[0]}: name a fault on {mine[0]} first"
    return FAULTS[name].why_not(program.is_preloadable)


async def _run(folder: Path, program: Program, members: int, options: Options) -> Report:
    features = frozenset[Feature]().union(*(FAULTS[name].needs for name in options.faults))
    target = Target(folder, program, members, features, Random(options.seed), **FAST_TIMERS)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)  # as Ctrl-C: no member is left behind
    try:
        await target.up()
        return await run(target, options, lambda text: click.echo(text, err=True))
    finally:
        await target.down()


def _conclude(report: Report, folder: Path, history_file: Path | None, output: str) -> None:
    if history_file is not None:
        save_history(history_file, report.history)
    show(report, output)
    if not (report.verdicts.is_safe and report.verdicts.is_live):
        save_history(folder / "history.jsonl", report.history)
        click.echo(f"everything is kept in {folder}", err=True)
        raise SystemExit(EXIT_NOT_LIVE if report.verdicts.is_safe else EXIT_UNSAFE)
    shutil.rmtree(folder, ignore_errors=True)
