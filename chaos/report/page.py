"""The parts of a report -> one file of HTML. Verdicts are text without any script; the drawings are made by page.js."""

import json
from html import escape
from importlib.resources import files
from typing import Any

from chaos.checkers import Verdicts, recovery
from chaos.history import History
from chaos.outcome import Outcome
from chaos.report.digest import digest
from chaos.report.window import windows

__all__ = ["render"]

MOST_TEXTS = 20  # violations of one checker that are written out
MOST_LETTERS = 600  # of one of them


def render(history: History, verdicts: Verdicts, *, title: str = "Chaos run") -> str:
    """Return the page; it asks for nothing from anywhere."""
    transactions = history.all_transactions()
    involved = {place for lines in verdicts.involved.values() for line in lines for place in line}
    document = digest(history, transactions, involved).document
    document["windows"] = [window.document() for window in windows(history, transactions, verdicts)]
    counts = {outcome.value: sum(each.outcome is outcome for each in transactions) for outcome in Outcome}
    parts = files("chaos.report")
    return (
        (parts / "page.html").read_text().replace("{{title}}", escape(title))
        .replace("{{style}}", (parts / "page.css").read_text())
        .replace("{{summary}}", _summary(history, verdicts, counts))
        .replace("{{verdicts}}", _verdicts(verdicts))
        .replace("{{script}}", (parts / "page.js").read_text())
        .replace("{{document}}", _embedded(document))
    )  # fmt: skip


def _embedded(document: dict[str, Any]) -> str:
    """JSON that may stand inside a script element."""
    return json.dumps(document, separators=(",", ":")).replace("<", "\\u003c").replace("\u2028", "\\u2028")


def _summary(history: History, verdicts: Verdicts, counts: dict[str, int]) -> str:
    if not verdicts.is_safe:
        badge = '<span class="badge bad">SAFETY VIOLATED</span>'
    elif not verdicts.is_live:
        badge = '<span class="badge late">NOT LIVE</span>'
    else:
        badge = '<span class="badge good">every promise held</span>'
    facts = {
        name: ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        for name, value in history.about.items()
    }
    facts["requests"] = f"{sum(counts.values()):,}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items())
    facts["log"] = f"{len(history.log):,} writes"
    if history.episodes:
        kinds = sorted({each.fault for each in history.episodes})
        facts["faults"] = f"{len(history.episodes)} of {len(kinds)} kinds: {', '.join(kinds)}"
        times = recovery.times(history.episodes)
        if times:
            facts["first write after a heal"] = f"median {times[len(times) // 2]:.2f} s, worst {times[-1]:.2f} s"
    rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(value)}</dd>" for name, value in facts.items())
    return f"{badge}<dl>{rows}</dl>"


def _verdicts(verdicts: Verdicts) -> str:
    rows = []
    for kind, found in (("safety", verdicts.safety), ("liveness", verdicts.liveness)):
        for name, texts in found.items():
            number = f"{len(texts)} violation{'s' * (len(texts) > 1)}"
            mark = f'<td class="bad">{number}</td>' if texts else '<td class="good">held</td>'
            shown = "".join(f"<li>{escape(text[:MOST_LETTERS])}</li>" for text in texts[:MOST_TEXTS])
            more = f"<li>and {len(texts) - MOST_TEXTS:,} more</li>" if len(texts) > MOST_TEXTS else ""
            rows.append(f"<tr><th>{escape(name)}</th><td>{kind}</td>{mark}<td><ul>{shown}{more}</ul></td></tr>")
    return "".join(rows)
