"""Bars as SVG: a panel for each workload, a row for each line, the spread of the rounds as a whisker.

Each plot is a card with a ground of its own, so that it is legible on pages of either colour; it follows the reader's
preference where the viewer knows it (prefers-color-scheme).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, VALUES, MARGIN = 760, 208, 84, 24
ROW, BAR, HEAD, FOOT = 26, 16, 58, 22
BARS = WIDTH - 2 * MARGIN - LABELS - VALUES

STYLE = """
svg { font: 13px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
.card { fill: #fbfcfd; stroke: #d5dbe1; } .title { fill: #16202a; font-weight: 600; font-size: 15px; }
.unit, .value, .label, .foot { fill: #4c5a67; } .unit, .foot { font-size: 12px; } .value { font-variant-numeric: tabular-nums; }
.ours .label, .ours .value { fill: #16202a; font-weight: 600; } .axis { stroke: #c3ccd4; }
.bar { fill: #a9b7c4; } .less .bar { fill: url(#less); } .ours .bar { fill: #2f74c0; } .stripe { stroke: #a9b7c4; }
.whisker { stroke: #16202a; stroke-opacity: .65; stroke-width: 1.5; fill: none; }
@media (prefers-color-scheme: dark) {
.card { fill: #171d24; stroke: #313b46; } .title { fill: #eef2f6; } .unit, .value, .label, .foot { fill: #a9b6c2; }
.ours .label, .ours .value { fill: #eef2f6; } .axis { stroke: #3d4854; }
.bar { fill: #56646f; } .ours .bar { fill: #5ba0e6; } .stripe { stroke: #56646f; } .whisker { stroke: #eef2f6; }
}
"""
STRIPES = (
    '<defs><pattern id="less" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<line class="stripe" x1="0" y1="0" x2="0" y2="6" stroke-width="5"/></pattern></defs>'
)


@dataclass(frozen=True)
class Bar:
    """A line of a panel; `kind` is ours, less (it does less than the others) or empty."""

    label: str
    median: float
    least: float
    most: float
    kind: str = ""


@dataclass(frozen=True)
class Panel:
    """One workload."""

    title: str
    unit: str
    bars: Sequence[Bar]

    @property
    def height(self) -> int:
        """Pixels, the space below included."""
        return HEAD + ROW * len(self.bars) + FOOT


def number(value: float) -> str:
    """Three digits that say something."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def row(bar: Bar, top: float, scale: float) -> str:
    """A label, a bar, its whisker, its value."""
    left, middle = MARGIN + LABELS, top + ROW / 2
    end, low, high = (left + x * scale for x in (bar.median, bar.least, bar.most))
    whisker = f"M{low:.1f} {middle}H{high:.1f}M{low:.1f} {middle - 4}v8M{high:.1f} {middle - 4}v8"
    return (
        f'<g class="{bar.kind}"><text class="label" x="{left - 10}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>'
        f'<rect class="bar" x="{left}" y="{middle - BAR / 2}" width="{end - left:.1f}" height="{BAR}" rx="2"/>'
        f'<path class="whisker" d="{whisker}"/>'
        f'<text class="value" x="{max(end, high) + 8:.1f}" y="{middle + 4}">{number(bar.median)}</text></g>'
    )


def drawn(panel: Panel, top: int) -> str:
    """One panel; all its bars begin at nothing."""
    scale = BARS / max(bar.most for bar in panel.bars)
    left, first = MARGIN + LABELS, top + HEAD
    rows = "".join(row(bar, first + n * ROW, scale) for n, bar in enumerate(panel.bars))
    return (
        f'<text class="title" x="{MARGIN}" y="{top + 28}">{escape(panel.title)}</text>'
        f'<text class="unit" x="{MARGIN}" y="{top + 46}">{escape(panel.unit)}</text>{rows}'
        f'<line class="axis" x1="{left}" x2="{left}" y1="{first}" y2="{first + ROW * len(panel.bars)}"/>'
    )


def plot(name: str, panels: Sequence[Panel], note: str) -> str:
    """The panels in one column, with a note at the foot."""
    height = sum(panel.height for panel in panels) + MARGIN
    parts, top = [], 0
    for panel in panels:
        parts.append(drawn(panel, top))
        top += panel.height
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
        f"<title>{escape(name)}</title><style>{STYLE}</style>{STRIPES}"
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{height - 1}" rx="10"/>{"".join(parts)}'
        f'<text class="foot" x="{MARGIN}" y="{height - 14}">{escape(note)}</text></svg>\n'
    )
