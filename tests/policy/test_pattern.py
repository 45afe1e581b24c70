"""Path patterns: what may be written, and what could never match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.target import DOUBLE_SLASH, ENCODED_PERCENT
from authproxy.policy.pattern import SEGMENTS_MOST, path_pattern_problem


@pytest.mark.parametrize(
    "pattern", ["/", "/a", "/a/", "/a/*", "/*/b", "/**", "/a/**", "/é/a b", "/a;v=1", "/...", "/.well-known/**"]
)  # fmt: skip
def test_a_pattern_is_literals_stars_and_a_rest(pattern: str) -> None:
    """Written as paths decode, in any script."""
    assert path_pattern_problem(pattern, ()) is None


@pytest.mark.parametrize(
    "pattern",
    [
        "", "a", "*", "**", "https://h/a", "/a*", "/a/*.js", "/**/b", "/a/**/", "/***", "/a//b", "//a", "/./a", "/a/..", "/..;x/a",
        "/a\\b", "/a\nb", "/a\x7f", "/a?x", "/a#x", "/a%20b", "/100%", "/a" * (SEGMENTS_MOST + 1),
    ],
)  # fmt: skip
def test_a_pattern_that_means_nothing_or_never_matches_is_an_error(pattern: str) -> None:
    """Refused where it stands, with what to write instead."""
    problem = path_pattern_problem(pattern, ())
    assert problem is not None
    assert problem[0] == "bad-path"


@pytest.mark.parametrize("pattern", ["/.authproxy", "/.authproxy/login", "/.authproxy/**"])
def test_patterns_under_our_own_prefix_are_errors(pattern: str) -> None:
    """`/.authproxy` belongs to the proxy."""
    problem = path_pattern_problem(pattern, ())
    assert problem is not None
    assert problem[0] == "reserved-path"


@pytest.mark.parametrize(
    ("pattern", "doubt"), [("/a//b", DOUBLE_SLASH), ("/100%", ENCODED_PERCENT)]
)
def test_what_a_route_allows_may_stand_in_its_patterns(pattern: str, doubt: str) -> None:
    """`double_slash: forward` and `encoded_percent: forward` let such paths through to be matched."""
    assert path_pattern_problem(pattern, ()) is not None
    assert path_pattern_problem(pattern, {doubt}) is None


@given(st.text(max_size=30) | st.text("/*.a%;", max_size=15).map(lambda t: "/" + t))
def test_any_text_is_a_pattern_or_a_problem(pattern: str) -> None:
    """A problem has a code, a text and a remedy; nothing is raised."""
    problem = path_pattern_problem(pattern, ())
    assert problem is None or all(problem)
