"""`pilothouse sim`: the store in a simulated world; one seed replays one run.

Exit codes: 0 all promises held, 1 the run itself failed, 2 bad options, 3 a safety violation, 4 not live.
"""

import os
import time

import click

from chaos.sim.run import Options, simulate, simulate_many
from chaos.sim.shown import (
    EXIT_NOT_LIVE,
    EXIT_UNSAFE,
    replay_command,
    show_of_many,
    show_one,
    show_sum,
    show_sweep,
    show_timing,
    show_walks,
)
from chaos.sim.shrink import shrink as shrink_schedule
from chaos.sim.swarm import FAULT_NAMES


@click.command()
@click.option("--seed", type=int, help="Play this one.")
@click.option("--seeds", default="1-20", show_default=True, help="Play a range, FIRST-LAST; not with --seed.")
@click.option("--seconds", type=click.FloatRange(min=1), default=60.0, show_default=True,
              help="Virtual seconds with faults; then all but a random majority is cut off, and that must work.")
@click.option("--members", type=click.IntRange(0, 9), default=0, help="0: the seed decides.")
@click.option("--faults", help="Comma-separated; by default the seed decides. `list` shows them.")
@click.option("--only", help="With --seed: of the seed's faults only those of these numbers, comma-separated.")
@click.option("--shrink", is_flag=True, help="With --seed: look for the smallest schedule of faults that still fails.")
@click.option("--every-boundary", is_flag=True, help="A short written run, again and again, a death at each effect boundary.")
@click.option("--stride", type=click.IntRange(min=1), default=1, show_default=True,
              help="With --every-boundary: die at each such one only.")
@click.option("--walk", "is_walk", is_flag=True, help="No time: the Raft core alone, events in any order.")
@click.option("--steps", type=click.IntRange(min=1), default=5000, show_default=True, help="With --walk: actions of a walk.")
@click.option("--jobs", "-j", type=click.IntRange(min=1), default=os.cpu_count() or 1, show_default=True,
              help="Processes; the output is the same with any number.")
@click.option("--trace", is_flag=True, help="With --seed: print each event.")
@click.option("--timing", is_flag=True, help="Print processor time too, which no seed decides.")
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def sim(
    seed: int | None, seeds: str, seconds: float, members: int, faults: str | None, only: str | None, shrink: bool,
    every_boundary: bool, stride: int, is_walk: bool, steps: int, jobs: int, trace: bool, timing: bool, output: str,
) -> None:
    """Play the shipped store on virtual time, network and disks, with faults, and check every promise.

    The same seed and options give the same run, byte for byte.
    """
    if faults == "list":
        click.echo("\n".join(FAULT_NAMES))
        return
    if seed is None and (trace or shrink or only):
        raise click.UsageError("--trace, --shrink and --only need --seed")
    chosen = [seed] if seed is not None else list(_parse_seeds(seeds))
    began = time.process_time()
    if is_walk:
        raise SystemExit(show_walks(chosen, steps, output, with_timing=timing))
    if every_boundary:
        raise SystemExit(show_sweep(chosen[0], stride, output))
    options = Options(seconds, members, _parse_faults(faults), _parse_numbers(only))
    if shrink and seed is not None:
        options, report = shrink_schedule(seed, options, lambda text: click.echo(text, err=True))
        click.echo(f"replay: {replay_command(seed, options)}")
        reports = [report]
        show_one(report, output)
    elif seed is not None:
        reports = [simulate(seed, options, click.echo if trace else None)]
        show_one(reports[0], output)
    else:
        reports = []
        for report in simulate_many(chosen, options, jobs):
            reports.append(report)
            show_of_many(report, options, output)
        show_sum(reports, output)
    if timing:
        show_timing(reports, began)
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


def _parse_numbers(text: str | None) -> tuple[int, ...] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not all(name.isdigit() for name in names):
        raise click.BadParameter(f"{text!r} is not a row of numbers")
    return tuple(map(int, names))
