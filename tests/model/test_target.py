"""The request target: one reading of it, or a refusal."""

import re
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.model.target import (
    DOUBLE_SLASH,
    ENCODED_PERCENT,
    ENCODED_SLASH,
    KEPT_LENGTH_MOST,
    Target,
    forget_paths,
    parse_target,
    strip_prefix,
)

PIECES = st.lists(
    st.sampled_from(
        [
            "a", "Z9", ".", "..", "...", ";", "%2e", "%2E", "%252e", "%2f", "%5c", "%25", "%3b", "%00", "%c0%ae", "%C3%A9",
            "/", "//", "\\", "%", "%2", "%zz", "?", "#", "%0a", "%7f", "~", "é", " ", "%20", "%253b", "%252f", "%255c",
        ]
    ),
    max_size=12,
)  # fmt: skip
HOSTILE = PIECES.map(lambda pieces: "/" + "".join(pieces))
thorough = settings(max_examples=500)


def attempt(raw: str) -> Target | None:
    """The target; None where it is refused."""
    try:
        return parse_target(raw)
    except Refusal as refusal:
        return None if refusal.code == "bad_request" else pytest.fail(refusal.code)


def unescape(text: str) -> str:
    """Percent-decoding as lax as backends have it."""
    return re.sub(r"%([0-9A-Fa-f]{2})", lambda m: chr(int(m[1], 16)), text)


def as_backend_reads(raw_path: str) -> list[str]:
    """The segments that a backend sees which decodes twice, cuts at `;` and takes a backslash for a slash."""
    path = unescape(unescape(raw_path)).replace("\\", "/")
    return [segment.split(";", 1)[0] for segment in path.split("/")]


@pytest.mark.parametrize(
    ("raw", "segments"),
    [
        ("/", ("",)),
        ("/a", ("a",)),
        ("/a/", ("a", "")),
        ("/a/b?x=/../y", ("a", "b")),
        ("/%61/%C3%A9", ("a", "é")),
        ("/a;v=1/b;c", ("a;v=1", "b;c")),
        ("/...", ("...",)),
        ("/.well-known/x", (".well-known", "x")),
        ("/a..b", ("a..b",)),
        ("/a%20b", ("a b",)),
    ],
)
def test_a_target_is_split_at_slashes_and_decoded_once(raw: str, segments: tuple[str, ...]) -> None:
    """Segments are what policies see; the client's own bytes are kept beside them."""
    target = parse_target(raw)
    assert target.segments == segments
    assert target.path == "/" + "/".join(segments)
    assert (target.raw, target.raw_path) == (raw, raw.partition("?")[0])
    assert target.doubts == frozenset()


@pytest.mark.parametrize(
    "raw",
    [
        "", "*", "a", "http://h/a", "h:443", "//..", "/a b", "/a\tb", "/é", "/a\n", "/\x00", "/\x7f",
        "/.", "/..", "/a/..", "/a/./b", "/..;x", "/.;", "/%2e", "/%2E%2e", "/.%2e/a", "/a/%2e%2e;v=1/b",
        "/%", "/%2", "/%zz", "/%2g", "/a%", "/%u0041",
        "/%00", "/%0a", "/%0D", "/%1f", "/%7f", "/%5c", "/a\\b", "/..\\a",
        "/%ff", "/%c0%ae", "/%e9", "/%ed%a0%80", "/%f8%88%80%80%80",
        "/a#b", "/a?x#y", "/a?x y", "/a?\x01", "/a?é",
    ],
)  # fmt: skip
def test_what_is_in_doubt_is_refused_and_never_cleaned(raw: str) -> None:
    """Dot segments, broken escapes, control bytes, backslashes, invalid UTF-8, fragments, other forms: 400."""
    assert attempt(raw) is None


@pytest.mark.parametrize(
    ("raw", "doubts"),
    [
        ("/a%2Fb", {ENCODED_SLASH}),
        ("/a%2fb/", {ENCODED_SLASH}),
        ("/a%2f", {ENCODED_SLASH}),
        ("/a%2f/b", {ENCODED_SLASH, DOUBLE_SLASH}),
        ("/%2fa", {ENCODED_SLASH, DOUBLE_SLASH}),
        ("/100%25", {ENCODED_PERCENT}),
        ("/a%252fb", {ENCODED_PERCENT}),
        ("//a", {DOUBLE_SLASH}),
        ("/a//b", {DOUBLE_SLASH}),
        ("//", {DOUBLE_SLASH}),
        ("/a//%25%2F", {DOUBLE_SLASH, ENCODED_PERCENT, ENCODED_SLASH}),
    ],
)
def test_what_a_route_may_allow_is_named(raw: str, doubts: set[str]) -> None:
    """An encoded slash, an encoded percent and an empty inner segment are doubts, judged once the route is known."""
    assert parse_target(raw).doubts == doubts


@pytest.mark.parametrize(
    "raw",
    ["/a%2f..%2fb", "/..%2fb", "/a%2f.", "/%252e%252e", "/%25%32%65%25%32%65", "/..%253bx", "/a%252f..", "/a%255c..%255cb"],
)  # fmt: skip
def test_the_pieces_of_a_doubt_are_still_checked(raw: str) -> None:
    """No dot segment hides behind an encoded slash or a second decoding, whatever a route allows."""
    assert attempt(raw) is None


@given(HOSTILE | st.text(max_size=40) | st.text(max_size=40).map(lambda t: "/" + t))
def test_any_text_is_a_target_or_a_refusal(raw: str) -> None:
    """Nothing but `bad_request` ever comes out of a target that cannot be read."""
    target = attempt(raw)
    assert target is None or target.raw == raw


@thorough
@given(HOSTILE)
def test_trap_policy_and_forwarder_reading_different_paths(raw: str) -> None:
    """No backend, however lax, finds a dot segment in what was accepted (six CVEs in 2025 and 2026)."""
    target = attempt(raw)
    if target is not None:
        assert {".", ".."}.isdisjoint(as_backend_reads(target.raw_path))


@thorough
@given(HOSTILE)
def test_a_target_without_doubts_reads_the_same_once_and_twice_decoded(raw: str) -> None:
    """Where no doubt is named, a backend that decodes twice or reads `//` as `/` has the segments that policy had."""
    target = attempt(raw)
    if target is not None and not target.doubts:
        assert unescape(target.path) == target.path
        assert tuple(target.path[1:].split("/")) == target.segments
        assert "" not in target.segments[:-1]


@given(st.lists(st.text(st.characters(exclude_categories=["C"]), min_size=1), min_size=1))
def test_any_text_can_be_a_segment(names: list[str]) -> None:
    """What a client quotes properly is what policies see, in every script."""
    wanted = [n for n in names if not set(n) & set("/\\%") and n.split(";")[0] not in {".", ".."}]
    raw = "/" + "/".join(quote(name, safe="") for name in wanted)
    assert parse_target(raw).segments == (tuple(wanted) or ("",))


@given(HOSTILE, st.integers(0, 4))
def test_a_stripped_target_has_the_remaining_segments(raw: str, count: int) -> None:
    """Raw segments are cut, never decoded lengths, so what is left reads as the rest did; the query stays."""
    target = attempt(raw)
    if target is None:
        return
    rest = parse_target(strip_prefix(target, target.segments[:count]))
    assert rest.segments == (target.segments[count:] or ("",))
    assert rest.raw.startswith("/")
    assert rest.raw.partition("?")[1:] == raw.partition("?")[1:]


@pytest.mark.parametrize(
    ("raw", "stripped"),
    [
        ("/api/x", "/x"),
        ("/api", "/"),
        ("/api/", "/"),
        ("/api?q", "/?q"),
        ("/%61pi/%41?q=/api", "/%41?q=/api"),
    ],
)
def test_cve_2026_40912_a_prefix_is_cut_by_segments(raw: str, stripped: str) -> None:
    """An escape in the prefix does not shift the cut, and the rest are the client's own bytes."""
    assert strip_prefix(parse_target(raw), ("api",)) == stripped


@pytest.mark.parametrize("raw", ["/api%2e/admin/secret", "/api/../admin", "/api/..;/admin"])
def test_cve_2026_48020_no_dot_segment_is_left_behind_a_prefix(raw: str) -> None:
    """`/api%2e` is not `/api`, and what would climb out of a prefix never gets this far."""
    target = attempt(raw)
    assert target is None or target.segments[0] != "api"


@pytest.mark.parametrize(
    "raw", ["/public/..%2fadmin", "/public/..%5cadmin", "/public/%2e%2e/admin"]
)
def test_cve_2021_29492_encoded_separators_are_no_way_out(raw: str) -> None:
    """An encoded slash or backslash before a dot segment is refused, not matched."""
    assert attempt(raw) is None


@pytest.mark.parametrize("raw", ["/admin#/public", "/admin%23/../public", "/admin?#"])
def test_cve_2021_32779_a_fragment_is_no_part_of_a_target(raw: str) -> None:
    """`#` never travels in a request; one that does is refused."""
    assert attempt(raw) is None


def test_cve_2025_54576_the_query_is_no_part_of_the_path() -> None:
    """`/admin?/public` is `/admin` to whoever matches paths."""
    assert parse_target("/admin?/public").segments == ("admin",)


def test_long_targets_are_not_kept() -> None:
    """What clients choose takes no more memory than a bounded number of short paths."""
    raw = "/" + "a" * KEPT_LENGTH_MOST
    assert parse_target(raw) is not parse_target(raw)
    assert parse_target("/kept") is parse_target("/kept")
    assert parse_target("/kept?secret") is not parse_target("/kept?secret")


def test_what_is_kept_of_paths_can_be_let_go_of() -> None:
    """What was noted with a path goes with it, and the path is read anew."""
    parse_target("/kept/1").memo.append("a route")
    assert parse_target("/kept/1?a=b").memo == ["a route"]
    forget_paths()
    assert parse_target("/kept/1").memo == []
