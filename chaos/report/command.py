"""`pilothouse chaos check | report`: what a history that was kept proves, as text, JSON, or a page to look at."""

import gc
import json
from pathlib import Path
from typing import Any

import click

from chaos.checkers import Verdicts, judge_history
from chaos.checkers.recovery import LIMIT_SECONDS, times
from chaos.history import History, Outcome, load_history
from chaos.report.page import render

__all__ = ["check_command", "exit_code", "report_command"]

EXIT_UNSAFE = 3
EXIT_NOT_LIVE = 4
SHOWN_VIOLATIONS = 10

HISTORY = click.argument("history_file", metavar="HISTORY", type=click.Path(exists=True, dir_okay=False, path_type=Path))
LIMIT = click.option(
    "--recovery-limit", default=LIMIT_SECONDS, show_default=True, help="Seconds from a heal to the next write."
)


@click.command("check")
@HISTORY
@LIMIT
@click.option("--output", "-o", type=click.Choice(["text", "json"]), default="text", show_default=True)
def check_command(history_file: Path, recovery_limit: float, output: str) -> None:
    """Check a history that `chaos run --history` kept, with every checker that has something to look at.

    Exit codes: 0 all promises held, 1 not a history, 3 a safety violation, 4 safe but not live.
    """
    history, verdicts = _judge(history_file, recovery_limit)
    if output == "json":
        click.echo(json.dumps(_document(history, verdicts), indent=2))
    else:
        _show(history, verdicts)
    raise SystemExit(exit_code(verdicts))


@click.command("report")
@HISTORY
@LIMIT
@click.option("--output", "-o", "page", type=click.Path(dir_okay=False, path_type=Path), help="By default beside HISTORY.")
def report_command(history_file: Path, recovery_limit: float, page: Path | None) -> None:
    """Make one HTML file of a history: timeline, throughput, latency, verdicts, and why what is wrong is wrong.

    The page needs no network. Exit codes as of `chaos check`.
    """
    history, verdicts = _judge(history_file, recovery_limit)
    chosen = page or history_file.with_suffix(".html")
    try:
        chosen.write_text(render(history, verdicts, title=f"Chaos: {history_file.name}"))
    except OSError as error:
        raise click.ClickException(f"{chosen}: {error.strerror}") from error
    click.echo(str(chosen))
    raise SystemExit(exit_code(verdicts))


def exit_code(verdicts: Verdicts) -> int:
    """Safety before liveness."""
    if not verdicts.is_safe:
        return EXIT_UNSAFE
    return 0 if verdicts.is_live else EXIT_NOT_LIVE


def _judge(path: Path, recovery_limit: float) -> tuple[History, Verdicts]:
    gc.disable()  # millions of records without any circle
    try:
        history = load_history(path)
        return history, judge_history(history, recovery_limit_seconds=recovery_limit)
    except ValueError as error:
        raise click.ClickException(str(error)) from error
    finally:
        gc.enable()


def _counts(history: History) -> dict[str, int]:
    transactions = history.all_transactions()
    return {outcome.value: sum(each.outcome is outcome for each in transactions) for outcome in Outcome}


def _show(history: History, verdicts: Verdicts) -> None:
    """Violations first, since they are what a person came for."""
    for found in (verdicts.safety, verdicts.liveness):
        for name, texts in found.items():
            for text in texts[:SHOWN_VIOLATIONS]:
                click.echo(f"{name}: {text}")
            if len(texts) > SHOWN_VIOLATIONS:
                click.echo(f"{name}: ... and {len(texts) - SHOWN_VIOLATIONS} more")
    counts = _counts(history)
    told = ", ".join(f"{count} {name}" for name, count in counts.items())
    click.echo(f"{sum(counts.values())} operations: {told}; {len(history.log)} writes in the log")
    click.echo(f"checked: {', '.join([*verdicts.safety, *verdicts.liveness]) or 'nothing, the history is empty'}")
    if not verdicts.is_safe:
        click.echo("SAFETY VIOLATED")
    else:
        click.echo("every promise held" if verdicts.is_live else "NOT LIVE")


def _document(history: History, verdicts: Verdicts) -> dict[str, Any]:
    return {
        "operations": _counts(history),
        "log": len(history.log),
        "recoverySeconds": times(history.episodes),
        "violations": verdicts.safety,
        "liveness": verdicts.liveness,
        "safe": verdicts.is_safe,
        "live": verdicts.is_live,
    }
