"""The figures as an SVG picture: how many times better than the peer (or, where that is not known, than must)."""

import math
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from controlplane.launcher.bench.api.measures import Measure

if TYPE_CHECKING:
    from controlplane.launcher.bench.api.command import Result

LABEL_PIXELS, BARS_PIXELS, FIGURE_PIXELS, ROW_PIXELS, HEAD_PIXELS = 330, 420, 130, 26, 46
LEAST_TIMES, MOST_TIMES = 0.25, 64.0  # the ends of the axis, which is logarithmic
STYLE = (
    "text{font:12px sans-serif;fill:#222} .ours{fill:#3a6ea5} .axis{stroke:#ccc} .must{stroke:#222;stroke-width:2} "
    ".aim{stroke:#2a8f3c;stroke-width:2}"
)


def times_better(one: "Result", figure: float) -> float:
    """How many times better a figure is than the peer's, or than what must be reached where that is not known."""
    than = one.peer or one.must or figure
    return figure / than if one.better == "higher" else than / figure


def place(times: float) -> float:
    """Where on the axis, in pixels."""
    share = math.log(min(max(times, LEAST_TIMES), MOST_TIMES) / LEAST_TIMES) / math.log(MOST_TIMES / LEAST_TIMES)
    return LABEL_PIXELS + share * BARS_PIXELS


def picture(results: Sequence["Result"], known: dict[str, Measure]) -> str:
    """The SVG document; measures without a goal are left out."""
    rows = [one for one in results if one.must is not None and one.aim is not None]
    height = HEAD_PIXELS + ROW_PIXELS * len(rows) + 10
    width = LABEL_PIXELS + BARS_PIXELS + FIGURE_PIXELS
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}">',
        f'<style>{STYLE}</style><rect width="{width}" height="{height}" fill="#fff"/>',
        '<text x="8" y="16">times better than kube-apiserver 1.28 with etcd 3.4 (where that is not known: than must); '
        "black: must, green: aim</text>",
    ]
    for times in (0.25, 0.5, 1, 2, 4, 8, 16, 32, 64):
        x = place(times)
        parts.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{HEAD_PIXELS - 8}" y2="{height - 10}"/>')
        parts.append(f'<text x="{x:.1f}" y="{HEAD_PIXELS - 12}" text-anchor="middle">{times:g}</text>')
    for number, one in enumerate(rows):
        parts.extend(_row(one, known[one.name].text, HEAD_PIXELS + ROW_PIXELS * number))
    return "\n".join([*parts, "</svg>", ""])


def _row(one: "Result", text: str, top: float) -> list[str]:
    begin, end = place(1.0), place(times_better(one, one.ours))
    marks = {"must": one.must or one.ours, "aim": one.aim or one.ours}
    parts = [
        f'<text x="{LABEL_PIXELS - 8}" y="{top + 14}" text-anchor="end">{escape(text)}</text>',
        f'<rect class="ours" x="{min(begin, end):.1f}" y="{top + 3}" width="{abs(end - begin):.1f}" height="14"/>',
    ]
    for name, figure in marks.items():
        x = place(times_better(one, figure))
        parts.append(f'<line class="{name}" x1="{x:.1f}" x2="{x:.1f}" y1="{top}" y2="{top + 20}"/>')
    shown = f"{one.ours:,.0f}" if one.ours >= 100 else f"{one.ours:.3g}"
    parts.append(f'<text x="{LABEL_PIXELS + BARS_PIXELS + 12}" y="{top + 14}">{shown} {escape(one.unit)}</text>')
    return parts


def draw(results: Sequence["Result"], known: dict[str, Measure], path: Path) -> None:
    """Write the picture."""
    path.write_text(picture(results, known))
