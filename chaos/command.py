"""`pilothouse chaos run | list | check | report`: faults on a real three-member store of real processes, and a verdict.

Exit codes: 0 all promises held, 1 the run itself failed, 2 bad options, 3 a safety violation, 4 not live.
"""

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import click

from chaos import history
from chaos.checkers import CHECKERS
from chaos.faults import FAULTS
from chaos.history import Outcome
from chaos.report.command import check_command, report_command
from chaos.runner import Options, Report, run
from chaos.target import Target
from chaos.workloads import WORKLOADS
from controlplane.launcher.plan import StorePlan
from controlplane.launcher.start import bring_down, bring_up
from controlplane.launcher.state import DataDirectory

EXIT_UNSAFE = 3
EXIT_NOT_LIVE = 4
SHOWN_VIOLATIONS = 10


@click.group()
def chaos() -> None:
    """Faults on a real cluster, and proof of what it kept."""


chaos.add_command(check_command)
chaos.add_command(report_command)


@chaos.command("list")
def list_() -> None:
    """List faults, workloads and checkers."""
    for title, names in (("faults", FAULTS), ("workloads", WORKLOADS), ("checkers", CHECKERS)):
        click.echo(f"{title}: {', '.join(names)}")


@chaos.command("run")
@click.option(
    "--faults", default=",".join(FAULTS), show_default=True, help="Comma-separated; see `pilothouse chaos list`."
)
@click.option("--workload", type=click.Choice(list(WORKLOADS)), default="register", show_default=True)
@click.option("--minutes", type=float, default=1.0, show_default=True)
@click.option("--clients", default=8, show_default=True)
@click.option("--members", default=3, show_default=True)
@click.option(
    "--seed", type=int, default=None, help="Of every choice of the run; by default from the clock, and printed."
)
@click.option("--base-port", default=12379, show_default=True)
@click.option("--history", "history_file", type=click.Path(path_type=Path), help="Keep the history in this file.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def run_command(
    faults: str,
    workload: str,
    minutes: float,
    clients: int,
    members: int,
    seed: int | None,
    base_port: int,
    history_file: Path | None,
    output: str,
) -> None:
    """Start a store in a temporary directory, hurt it for some minutes, and check every promise."""
    names = tuple(name for name in faults.split(",") if name)
    unknown = [name for name in names if name not in FAULTS]
    if unknown:
        raise click.BadParameter(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    chosen = time.time_ns() % 1_000_000 if seed is None else seed
    options = Options(faults=names, workload=workload, seconds=minutes * 60, clients=clients, seed=chosen)
    click.echo(f"seed {chosen}", err=True)
    folder = Path(tempfile.mkdtemp(prefix="pilothouse-chaos-"))
    try:
        report = run_on_new_store(folder, StorePlan(members=members, base_port=base_port), options)
    except TimeoutError as error:
        click.echo(f"NOT LIVE: the store did not serve again; its files are in {folder}", err=True)
        raise SystemExit(EXIT_NOT_LIVE) from error
    if history_file is not None:
        history.save(history_file, report.operations, report.log)
    show(report, output)
    if not report.is_safe:
        history.save(folder / "history.jsonl", report.operations, report.log)
        click.echo(f"everything is kept in {folder}", err=True)
        raise SystemExit(EXIT_UNSAFE)
    shutil.rmtree(folder)


def run_on_new_store(folder: Path, plan: StorePlan, options: Options) -> Report:
    directory = DataDirectory(folder / "store")
    bring_up(directory, plan, foreground=False, restart=False, after=lambda: None)
    try:
        return asyncio.run(run(Target(directory, plan), options, lambda text: click.echo(text, err=True)))
    finally:
        bring_down(directory)


def show(report: Report, output: str) -> None:
    """Print the verdict; violations first, since they are what a person came for."""
    if output == "json":
        click.echo(json.dumps(as_document(report), indent=2))
        return
    for name, violations in report.violations.items():
        for text in violations[:SHOWN_VIOLATIONS]:
            click.echo(f"{name}: {text}")
        if len(violations) > SHOWN_VIOLATIONS:
            click.echo(f"{name}: ... and {len(violations) - SHOWN_VIOLATIONS} more")
    counts = ", ".join(f"{report.count(outcome)} {outcome.value}" for outcome in Outcome)
    click.echo(f"{len(report.operations)} operations: {counts}; {len(report.log)} writes in the log")
    if report.injected:
        click.echo("faults: " + ", ".join(f"{name} {count}" for name, count in report.injected.items()))
    if report.recoveries:
        click.echo(
            f"first write after a heal: median {median(report.recoveries):.2f} s, worst {max(report.recoveries):.2f} s"
        )
    click.echo("every promise held" if report.is_safe else "SAFETY VIOLATED")


def as_document(report: Report) -> dict[str, object]:
    return {
        "operations": {outcome.value: report.count(outcome) for outcome in Outcome},
        "log": len(report.log),
        "faults": report.injected,
        "recoverySeconds": report.recoveries,
        "violations": report.violations,
        "safe": report.is_safe,
    }


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
