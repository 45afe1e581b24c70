"""Small plots as inline SVG. Numbers in, markup out; colours come from the page's style by class.

Only attributes are used, never `style=`: the page's Content-Security-Policy takes no inline styles.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape

POINTS = 60
SIZE = {False: (120, 24), True: (280, 40)}


def sparkline(values: Sequence[float], title: str, *, wide: bool = False) -> str:
    """The values as a line from 0 to their greatest, the newest at the right edge; `POINTS` fill the width."""
    width, height = SIZE[wide]
    base = height - 1.5
    line = _points(values, width, base)
    peak = max(values, default=0.0)
    drawn = f'<path class="axis" d="M0 {base}H{width}"/>'
    if peak:
        first, last = line[0].split()[0], line[-1].split()[0]
        path = "L".join(line)
        drawn += f'<path class="area" d="M{first} {base}L{path}L{last} {base}Z"/><path class="line" d="M{path}"/>'
    label = f"{title}: at most {peak:.1f}"
    return _svg(width, height, "spark", label, drawn)


def _points(values: Sequence[float], width: int, base: float) -> list[str]:
    """The corners of the line: `x y`."""
    recent = values[-POINTS:]
    step, peak = width / (POINTS - 1), max(recent, default=0.0) or 1.0
    start = width - step * (len(recent) - 1)
    return [
        f"{start + step * at:.1f} {base - (base - 2) * value / peak:.1f}"
        for at, value in enumerate(recent)
    ]


def status_bar(statuses: Mapping[str, int], *, wide: bool = False) -> str:
    """How answers divide into classes of statuses, as one bar."""
    width, height = SIZE[wide][0], 10 if wide else 8
    total = sum(statuses.values())
    shares = ", ".join(f"{name} {count:,}" for name, count in statuses.items())
    label = f"Statuses: {shares or 'none yet'}"
    drawn = f'<rect class="empty" width="{width}" height="{height}" rx="2"/>'
    return _svg(
        width, height, "bar", label, drawn + "".join(_segments(statuses, total, width, height))
    )


def _segments(statuses: Mapping[str, int], total: int, width: int, height: int) -> Iterator[str]:
    """One part for each class, none so small that it cannot be seen."""
    wide = {name: max(2.0, width * count / total) for name, count in statuses.items() if count}
    fit, at = width / max(sum(wide.values()), 1.0), 0.0
    for name, size in wide.items():
        yield (
            f'<rect class="c{escape(name[:1])}" x="{at:.1f}" width="{max(size * fit - 0.5, 0.5):.1f}" height="{height}"/>'
        )
        at += size * fit


def _svg(width: int, height: int, kind: str, label: str, drawn: str) -> str:
    said = escape(label)
    return (
        f'<svg class="{kind}" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'preserveAspectRatio="none" role="img" aria-label="{said}"><title>{said}</title>{drawn}</svg>'
    )
