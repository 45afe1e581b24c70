"""Plots: well-formed SVG, within its box, and nothing in it that a Content-Security-Policy refuses."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.web.plots import POINTS, SIZE, sparkline, status_bar

values = st.lists(st.floats(0, 1e9), max_size=70)


def corners(svg: str) -> list[tuple[float, float]]:
    """The corners of the line that is drawn."""
    (path,) = (
        p.get("d") or "" for p in ET.fromstring(svg).iter("path") if p.get("class") == "line"
    )
    return [(float(x), float(y)) for x, y in (c.split() for c in path[1:].split("L"))]


@given(values, st.booleans())
def test_a_line_stays_in_its_box(numbers: list[float], wide: bool) -> None:
    """Whatever the values are, the line is inside, its newest point at the right edge, at most a minute of them."""
    svg = sparkline(numbers, "Requests", wide=wide)
    width, height = SIZE[wide]
    if max(numbers, default=0.0) == 0:
        assert 'class="line"' not in svg
        return
    found = corners(svg)
    assert all(0 <= x <= width + 0.1 and 0 < y < height for x, y in found)
    assert abs(found[-1][0] - width) < 0.1
    assert len(found) == min(len(numbers), POINTS)


def test_a_greater_value_is_higher() -> None:
    """The greatest value reaches the top, 0 is on the axis, and half is halfway."""
    (_, low), (_, half), (_, high) = corners(sparkline([0, 5, 10], "Requests"))
    assert (low, half, high) == (22.5, 12.2, 2.0)


@given(st.dictionaries(st.sampled_from(["1xx", "2xx", "3xx", "4xx", "5xx"]), st.integers(0, 10**9)))
def test_a_bar_is_full_and_hides_nothing(statuses: dict[str, int]) -> None:
    """Each class that occurred has a part that can be seen, and the parts fill the bar and no more."""
    _, *parts = ET.fromstring(status_bar(statuses)).iter("rect")
    assert [p.get("class") for p in parts] == [f"c{n[0]}" for n, count in statuses.items() if count]
    for part in parts:
        assert float(part.get("width", "0")) >= 0.5
        assert float(part.get("x", "0")) + float(part.get("width", "0")) <= SIZE[False][0] + 0.1


@pytest.mark.parametrize("svg", [sparkline([1, 2], '<b>"&'), status_bar({'<b>"&': 3})])
def test_words_are_escaped_and_there(svg: str) -> None:
    """What a plot shows is said in words too, for who cannot see it; whatever they are, they stay words."""
    root = ET.fromstring(svg)
    title = root.find("title")
    assert title is not None
    assert '<b>"&' in (title.text or "")
    assert root.get("aria-label") == title.text
    assert "style=" not in svg
