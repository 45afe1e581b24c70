"""Lines over time as SVG, with what happened meanwhile as bands below them: one row a kind."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LEFT, RIGHT, TOP, HEIGHT, ROW = 760, 150, 24, 64, 200, 16
COLOURS = ("#2f74c0", "#c2571a", "#a01f5b", "#4c8c4a")
STYLE = """
svg { font: 12px system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', sans-serif; }
.card { fill: #fbfcfd; stroke: #d5dbe1; } .title { fill: #16202a; font-weight: 600; font-size: 15px; }
text { fill: #4c5a67; } .axis { stroke: #c3ccd4; } .band { fill: #8a5a9e; fill-opacity: .75; } path { fill: none; stroke-width: 1.5; }
@media (prefers-color-scheme: dark) {
.card { fill: #171d24; stroke: #313b46; } .title { fill: #eef2f6; } text { fill: #a9b6c2; } .axis { stroke: #3d4854; }
}
"""


@dataclass(frozen=True)
class Line:
    """Values over seconds, in a colour of the list."""

    name: str
    seconds: Sequence[float]
    values: Sequence[float]
    colour: int


@dataclass(frozen=True)
class Band:
    """Something that went on from one second to another."""

    begin: float
    end: float
    kind: str


def plot(title: str, lines: Sequence[Line], bands: Sequence[Band], seconds: float) -> str:
    """The lines from nothing to their most, over all the seconds; below them a row for each kind of band."""
    kinds = sorted({band.kind for band in bands})
    most = max(max(line.values, default=0) for line in lines) * 1.05 or 1.0
    across, down = (WIDTH - LEFT - RIGHT) / seconds, HEIGHT / most
    bottom, total = TOP + HEIGHT, TOP + HEIGHT + 44 + ROW * len(kinds)

    def place(second: float, value: float) -> str:
        return f"{LEFT + second * across:.1f} {bottom - value * down:.1f}"

    parts = [f'<text class="title" x="24" y="28">{escape(title)}</text>']
    for number, line in enumerate(lines):
        colour = COLOURS[line.colour % len(COLOURS)]
        points = "L".join(place(s, v) for s, v in zip(line.seconds, line.values, strict=True))
        parts.append(f'<path stroke="{colour}" d="M{points}"/>')
        parts.append(
            f'<text x="{LEFT + number * 130}" y="48"><tspan style="fill:{colour}">■</tspan> {escape(line.name)}</text>'
        )
    parts.append(f'<path class="axis" d="M{LEFT} {TOP}V{bottom}H{WIDTH - RIGHT}"/>')
    parts.append(f'<text x="{LEFT - 8}" y="{TOP + 4}" text-anchor="end">{most:.0f}</text>')
    parts.append(f'<text x="{LEFT - 8}" y="{bottom}" text-anchor="end">0</text>')
    for row, kind in enumerate(kinds):
        y = bottom + 10 + row * ROW
        parts.append(f'<text x="{LEFT - 8}" y="{y + 10}" text-anchor="end">{escape(kind)}</text>')
        parts += [
            f'<rect class="band" x="{LEFT + b.begin * across:.1f}" y="{y}" height="{ROW - 4}" width="{max((b.end - b.begin) * across, 1.5):.1f}"/>'
            for b in bands
            if b.kind == kind
        ]
    parts.append(
        f'<text x="{WIDTH - RIGHT}" y="{total - 12}" text-anchor="end">{seconds / 60:.0f} minutes</text>'
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {total}" width="{WIDTH}" height="{total}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<rect class="card" x=".5" y=".5" width="{WIDTH - 1}" height="{total - 1}" rx="10"/>{"".join(parts)}</svg>\n'
    )
