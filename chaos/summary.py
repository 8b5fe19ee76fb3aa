"""What a run is told as: text for people, a document for machines."""

import json
from collections.abc import Sequence

import click

from chaos.history import Outcome
from chaos.runner import Report

__all__ = ["as_document", "show"]

SHOWN_VIOLATIONS = 10


def show(report: Report, output: str) -> None:
    """Print the verdict; violations first, since they are what a person came for."""
    if output == "json":
        click.echo(json.dumps(as_document(report), indent=2))
        return
    for name, violations in {**report.verdicts.safety, **report.verdicts.liveness}.items():
        for text in violations[:SHOWN_VIOLATIONS]:
            click.echo(f"{name}: {text}")
        if len(violations) > SHOWN_VIOLATIONS:
            click.echo(f"{name}: ... and {len(violations) - SHOWN_VIOLATIONS} more")
    counts = ", ".join(f"{report.count(outcome)} {outcome.value}" for outcome in Outcome)
    history = report.history
    click.echo(f"{report.operations} operations: {counts}; {len(history.log)} writes in the log")
    extra = {"streams": len(history.streams), "leases": len(history.leases), "holds": len(history.holds)}
    if any(extra.values()):
        click.echo(", ".join(f"{count} {name}" for name, count in extra.items() if count))
    if report.injected:
        click.echo(f"faults: {sum(report.injected.values())} of {sum(map(bool, report.injected.values()))} kinds")
        for name, count in report.injected.items():
            click.echo(f"  {name:22} injected {count:4}   effect seen {report.effects.get(name, 0):4}")
    for name, why in report.skipped.items():
        click.echo(f"  {name:22} skipped: {why}")
    for text in report.ended[:SHOWN_VIOLATIONS]:
        click.echo(f"a member ended by itself: {text}")
    if report.recoveries:
        middle, late, worst = (percentile(report.recoveries, share) for share in (0.5, 0.99, 1.0))
        click.echo(f"first write after a heal: p50 {middle:.2f} s, p99 {late:.2f} s, worst {worst:.2f} s")
    checked = ", ".join((*report.verdicts.safety, *report.verdicts.liveness))
    verdict = "every promise held" if report.verdicts.is_safe else "SAFETY VIOLATED"
    click.echo(f"{verdict} ({checked})" if report.verdicts.is_live else f"{verdict}; NOT LIVE ({checked})")


def as_document(report: Report) -> dict[str, object]:
    """The same for machines."""
    return {
        "operations": {outcome.value: report.count(outcome) for outcome in Outcome},
        "log": len(report.history.log),
        "streams": len(report.history.streams),
        "leases": len(report.history.leases),
        "holds": len(report.history.holds),
        "faults": {
            name: {"injected": count, "effects": report.effects.get(name, 0)} for name, count in report.injected.items()
        },
        "skipped": report.skipped,
        "endedByThemselves": report.ended,
        "recoverySeconds": report.recoveries,
        "violations": report.verdicts.safety,
        "liveness": report.verdicts.liveness,
        "safe": report.verdicts.is_safe,
    }


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that so large a share is not above."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
