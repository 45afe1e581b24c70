"""The style of the status page: ours alone, and nothing in it that is fetched or could end it early."""

from authproxy.web.status_style import STYLE


def test_it_loads_nothing() -> None:
    """No font, no image, no other sheet."""
    assert not {word for word in ("url(", "@import", "@font-face", "http") if word in STYLE}


def test_it_stays_within_its_element() -> None:
    """Nothing in it ends the element that it stands in, and its braces are balanced."""
    assert "<" not in STYLE
    assert STYLE.count("{") == STYLE.count("}")


def test_light_and_dark() -> None:
    """Every colour is there for both."""
    colours = [part for part in STYLE.split(";") if "#" in part]
    assert colours
    assert all("light-dark(" in part for part in colours)
