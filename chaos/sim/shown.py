"""What `pilothouse sim` prints. Nothing here is decided by the machine but what `--timing` asks for."""

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict

import click

from chaos.sim.every import Coverage, sweep
from chaos.sim.run import Options, Report
from chaos.sim.walk import walk

EXIT_UNSAFE = 3
EXIT_NOT_LIVE = 4
SHOWN_VIOLATIONS = 5
SHOWN_LINES = 30


def replay_command(seed: int, options: Options) -> str:
    """The one command that plays the same run again."""
    faults = "" if options.faults is None else f" --faults '{','.join(options.faults)}'"
    members = f" --members {options.members}" if options.members else ""
    only = "" if options.only is None else f" --only '{','.join(map(str, options.only))}'"
    return f"pilothouse sim --seed {seed} --seconds {options.seconds:g}{members}{faults}{only}"


def show_one(report: Report, output: str) -> None:
    """One seed, in full."""
    if output == "json":
        click.echo(json.dumps(report.document(), indent=2))
        return
    click.echo(f"seed {report.seed}: {report.members} members, {report.virtual_seconds:.1f} virtual seconds, "
               f"{report.steps} events, trace {report.trace}")
    click.echo("operations: " + ", ".join(f"{count} {name}" for name, count in report.operations.items()))
    faults = {name.removeprefix("fault "): count for name, count in report.counts.items() if name.startswith("fault ")}
    click.echo("faults: " + (", ".join(f"{name} {count}" for name, count in faults.items()) or "none"))
    if report.recovery_seconds:
        click.echo(f"first write through each member of the core after the healing: worst {max(report.recovery_seconds):.2f} s")
    _show_verdict(report)


def show_of_many(report: Report, options: Options, output: str) -> None:
    """One line, or what broke and the command that replays it."""
    if output == "json":
        click.echo(json.dumps(report.document()))
    elif not (report.is_safe and report.is_live):
        click.echo(f"seed {report.seed}: " + ("NOT LIVE" if report.is_safe else "SAFETY VIOLATED"))
        _show_verdict(report)
        click.echo(f"replay: {replay_command(report.seed, options)}")
    else:
        click.echo(f"seed {report.seed}: held; {report.virtual_seconds:.0f} s, {report.operations['ok']} operations, "
                   f"trace {report.trace}", err=True)


def _show_verdict(report: Report) -> None:
    for name, violations in report.violations.items():
        for text in violations[:SHOWN_VIOLATIONS]:
            click.echo(f"{name}: {text}")
    if report.is_safe and report.is_live:
        click.echo("every promise held")
        return
    click.echo("SAFETY VIOLATED" if not report.is_safe else "NOT LIVE: a majority that hears itself did not write in time")
    click.echo("the last events:")
    for line in report.last_lines[-SHOWN_LINES:]:
        click.echo(f"  {line}")


def show_sum(reports: list[Report], output: str) -> None:
    """The last line."""
    if output == "json":
        return
    hours = sum(report.virtual_seconds for report in reports) / 3600
    operations = sum(sum(report.operations.values()) for report in reports)
    bad = [report.seed for report in reports if not (report.is_safe and report.is_live)]
    deaths = sum(sum(report.deaths.values()) for report in reports)
    verdict = f"broken: {', '.join(map(str, bad))}" if bad else "every promise held"
    click.echo(f"{len(reports)} seeds, {hours:.2f} cluster-hours, {operations} operations, {deaths} deaths between two effects: "
               f"{verdict}")


def show_timing(reports: Iterable[Report], began: float) -> None:
    """Processor time since `began` (time.process_time), for the reports."""
    hours = sum(report.virtual_seconds for report in reports) / 3600
    minutes = (time.process_time() - began + sum(os.times()[2:4])) / 60
    click.echo(f"{hours:.2f} cluster-hours in {minutes:.2f} minutes of processor time: {hours / minutes:.2f} hours a minute",
               err=True)


def show_walks(seeds: Iterable[int], steps: int, output: str, *, with_timing: bool) -> int:
    """Play and show walks; return the exit code."""
    began, actions, broken = time.process_time(), 0, 0
    for seed in seeds:
        report = walk(seed, steps)
        actions += sum(report.actions.values())
        broken += bool(report.violation)
        if output == "json":
            click.echo(json.dumps(asdict(report)))
        else:
            verdict = f"SAFETY VIOLATED: {report.violation}\nreplay: pilothouse sim --walk --seed {seed} --steps {steps}"
            click.echo(f"walk {seed}: {report.members} members, term {report.term}, {report.committed} entries committed, trace "
                       f"{report.trace}: {verdict if report.violation else 'held'}", err=not report.violation)
    if output != "json":
        click.echo(f"{actions} actions: " + (f"{broken} walks broke an invariant" if broken else "every invariant held"))
    if with_timing:
        click.echo(f"{actions / (time.process_time() - began):.0f} actions a second of processor time", err=True)
    return EXIT_UNSAFE if broken else 0


def show_sweep(seed: int, stride: int, output: str) -> int:
    """Play and show the deaths at every boundary; return the exit code."""
    coverage = Coverage()
    for run in sweep(seed, stride=stride):
        coverage.add(run)
        if run.report.broken:
            click.echo(f"m{run.member + 1} died at its boundary {run.boundary}: {', '.join(sorted(run.report.broken))} broken; "
                       + "; ".join(text for found in run.report.violations.values() for text in found), err=output == "json")
    if output == "json":
        click.echo(json.dumps({"runs": coverage.runs, "died": dict(sorted(coverage.died.items())),
                               "never_died_at": coverage.never_died_at, "broken": len(coverage.broken)}))
    else:
        for name, count in sorted(coverage.died.items()):
            click.echo(f"{count:6} deaths at: {name}")
        click.echo(f"{coverage.runs} runs, {sum(coverage.died.values())} deaths at {len(coverage.died)} kinds of boundary; never "
                   f"died at: {', '.join(coverage.never_died_at) or 'none'}; broken: {len(coverage.broken) or 'none'}")
    if any(not run.report.is_safe for run in coverage.broken):
        return EXIT_UNSAFE
    return EXIT_NOT_LIVE if coverage.broken else 0
