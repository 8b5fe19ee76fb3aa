"""`pilothouse sim`: the store in a simulated world; one seed replays one run.

Exit codes: 0 all promises held, 1 the run itself failed, 2 bad options, 3 a safety violation, 4 not live.
"""

import json
import os
import time

import click

from chaos.sim.run import Options, Report, simulate, simulate_many
from chaos.sim.swarm import FAULT_NAMES

EXIT_UNSAFE = 3
EXIT_NOT_LIVE = 4
SHOWN_VIOLATIONS = 5
SHOWN_LINES = 30


@click.command()
@click.option("--seed", type=int, help="Play this one.")
@click.option("--seeds", default="1-20", show_default=True, help="Play a range, FIRST-LAST; not with --seed.")
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True,
              help="Virtual seconds with faults; then all but a random majority is cut off, and that must work.")
@click.option("--members", type=click.IntRange(0, 9), default=0, help="0: the seed decides.")
@click.option("--faults", help="Comma-separated; by default the seed decides. `list` shows them.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
              help="Processes; the output is the same with any number.")
@click.option("--trace", is_flag=True, help="With --seed: print each event.")
@click.option("--timing", is_flag=True, help="Print processor time too, which no seed decides.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def sim(
    seed: int | None, seeds: str, seconds: float, members: int, faults: str | None, jobs: int, trace: bool, timing: bool,
    output: str,
) -> None:
    """Play the shipped store on virtual time, network and disks, with faults, and check every promise.

    The same seed and options give the same run, byte for byte.
    """
    if faults == "list":
        click.echo("\n".join(FAULT_NAMES))
        return
    options = Options(seconds, members, _parse_faults(faults))
    began = time.process_time()
    if seed is not None:
        reports = [simulate(seed, options, click.echo if trace else None)]
        _show_one(reports[0], output)
    else:
        if trace:
            raise click.UsageError("--trace needs --seed")
        reports = []
        for report in simulate_many(_parse_seeds(seeds), options, jobs):
            reports.append(report)
            _show_of_many(report, options, output)
        _show_sum(reports, output)
    if timing:
        hours = sum(report.virtual_seconds for report in reports) / 3600
        minutes = (time.process_time() - began + sum(os.times()[2:4])) / 60
        click.echo(f"{hours:.2f} cluster-hours in {minutes:.2f} minutes of processor time: {hours / minutes:.2f} hours a minute",
                   err=True)
    if not all(report.is_safe for report in reports):
        raise SystemExit(EXIT_UNSAFE)
    if not all(report.is_live for report in reports):
        raise SystemExit(EXIT_NOT_LIVE)


def _parse_faults(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in FAULT_NAMES]
    if unknown:
        raise click.BadParameter(f"no such fault: {', '.join(unknown)}; there are: {', '.join(FAULT_NAMES)}")
    return names


def _parse_seeds(text: str) -> range:
    first, separator, last = text.partition("-")
    if not (first.isdigit() and (last.isdigit() or not separator)):
        raise click.BadParameter(f"{text!r} is not FIRST-LAST")
    return range(int(first), int(last or first) + 1)


def _show_one(report: Report, output: str) -> None:
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


def _show_of_many(report: Report, options: Options, output: str) -> None:
    if output == "json":
        click.echo(json.dumps(report.document()))
    elif not (report.is_safe and report.is_live):
        click.echo(f"seed {report.seed}: " + ("NOT LIVE" if report.is_safe else "SAFETY VIOLATED"))
        _show_verdict(report)
        faults = "" if options.faults is None else f" --faults '{','.join(options.faults)}'"
        members = f" --members {options.members}" if options.members else ""
        click.echo(f"replay: pilothouse sim --seed {report.seed} --seconds {options.seconds:g}{members}{faults}")
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


def _show_sum(reports: list[Report], output: str) -> None:
    if output == "json":
        return
    hours = sum(report.virtual_seconds for report in reports) / 3600
    operations = sum(sum(report.operations.values()) for report in reports)
    bad = [report.seed for report in reports if not (report.is_safe and report.is_live)]
    deaths = sum(sum(report.deaths.values()) for report in reports)
    verdict = f"broken: {', '.join(map(str, bad))}" if bad else "every promise held"
    click.echo(f"{len(reports)} seeds, {hours:.2f} cluster-hours, {operations} operations, {deaths} deaths between two effects: "
               f"{verdict}")
