"""The results as a picture: for each measure a bar, how many times better than the peer; marks where it must and should be.

The scale is logarithmic, so that twice as good and half as good are equally far from 1. What is better when lower is shown as
its inverse: longer is always better.
"""

from collections.abc import Sequence
from math import log2
from typing import Protocol
from xml.sax.saxutils import escape

LOWEST, HIGHEST = 0.25, 64.0  # ends of the scale; a longer bar is cut, and its number says what it is
ROW, BAR, LEFT, RIGHT, TOP, WIDTH = 30, 14, 330, 70, 62, 960
REACHED, ENOUGH, MISSED, PLAIN = "#2e7d4f", "#3b6ea8", "#b3412f", "#8a8f98"
STYLE = "text{font:13px sans-serif;fill:#22262b}.s{font-size:12px;fill:#5b626b}.h{font-size:16px;font-weight:bold}"


class Line(Protocol):
    """One measure's result."""

    @property
    def text(self) -> str: ...
    @property
    def ratio(self) -> float: ...
    @property
    def better(self) -> str: ...
    @property
    def must(self) -> float | None: ...
    @property
    def aim(self) -> float | None: ...


def draw(lines: Sequence[Line]) -> str:
    """Return the picture as SVG."""
    height = TOP + ROW * len(lines) + 40
    bottom = height - 34
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}">',
        f"<style>{STYLE}</style>",
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        '<text class="h" x="16" y="24">How many times better than etcd, one sitting, three members each</text>',
    ]
    parts += _legend()
    power = LOWEST
    while power <= HIGHEST:
        x = _x(power)
        shade = "#5b626b" if power == 1 else "#e3e6ea"
        parts.append(f'<line x1="{x}" y1="{TOP - 4}" x2="{x}" y2="{bottom}" stroke="{shade}"/>')
        parts.append(f'<text class="s" x="{x}" y="{bottom + 18}" text-anchor="middle">{power:g}x</text>')
        power *= 2
    for number, line in enumerate(lines):
        parts += _row(line, TOP + ROW * number)
    return "\n".join([*parts, "</svg>", ""])


def times(ratio: float, better: str) -> float:
    """How many times better: the ratio, or its inverse where lower is better."""
    return ratio if better == "higher" else 1 / ratio if ratio else HIGHEST


def _x(value: float) -> float:
    clipped = min(max(value, LOWEST), HIGHEST)
    share = (log2(clipped) - log2(LOWEST)) / (log2(HIGHEST) - log2(LOWEST))
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _colour(line: Line) -> str:
    if line.must is None or line.aim is None:
        return PLAIN
    value = times(line.ratio, line.better)
    if value >= times(line.aim, line.better):
        return REACHED
    return ENOUGH if value >= times(line.must, line.better) else MISSED


def _row(line: Line, top: int) -> list[str]:
    value = times(line.ratio, line.better)
    one, end = _x(1), _x(value)
    start, middle = min(one, end), top + ROW / 2
    parts = [
        f'<text x="{LEFT - 12}" y="{middle + 4}" text-anchor="end">{escape(line.text)}</text>',
        f'<rect x="{start}" y="{middle - BAR / 2}" width="{max(abs(end - one), 1):.1f}" height="{BAR}" fill="{_colour(line)}"/>',
    ]
    for goal, dash in ((line.must, ""), (line.aim, ' stroke-dasharray="3 2"')):
        if goal is not None:
            x = _x(times(goal, line.better))
            parts.append(
                f'<line x1="{x}" y1="{middle - 11}" x2="{x}" y2="{middle + 11}" stroke="#22262b" stroke-width="2"{dash}/>'
            )
    beside = max(end, one) + 6
    parts.append(f'<text class="s" x="{beside}" y="{middle + 4}" style="paint-order:stroke" stroke="#fff" stroke-width="3">'
                 f"{value:.2g}x</text>")  # fmt: skip
    return parts


def _legend() -> list[str]:
    parts, x = [], 16
    for colour, text in ((REACHED, "aim reached"), (ENOUGH, "must reached"), (MISSED, "missed"), (PLAIN, "no goal")):
        parts.append(f'<rect x="{x}" y="36" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text class="s" x="{x + 17}" y="46">{text}</text>')
        x += 120
    for dash, text in (("", "must"), (' stroke-dasharray="3 2"', "aim")):
        parts.append(f'<line x1="{x}" y1="33" x2="{x}" y2="51" stroke="#22262b" stroke-width="2"{dash}/>')
        parts.append(f'<text class="s" x="{x + 8}" y="46">{text}</text>')
        x += 70
    return parts
