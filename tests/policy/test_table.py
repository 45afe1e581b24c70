"""The table: which route a request is for, held against a naive reading of the contract."""

import random
import statistics
import time
from collections.abc import Sequence
from itertools import combinations, permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.model.target import DOUBLE_SLASH, ENCODED_PERCENT, ENCODED_SLASH, parse_target
from authproxy.policy.table import NOTHING, Route, Table

WORDS = st.sampled_from(["a", "b", "a;x", "é"])
# Patterns and targets that meet each other.
NEAR = [
    "/",
    "/a",
    "/a/",
    "/a/b",
    "/a/*",
    "/*/b",
    "/*",
    "/**",
    "/a/**",
    "/*/**",
    "/a/*/b",
    "/a/b/**",
]
NEAR_TARGETS = ["/", "/a", "/a/", "/a/b", "/a/b/", "/b", "/b/b", "/b/", "/a/c/b", "/a/b/c/d"]
PATHS = st.sampled_from(NEAR) | st.builds(
    lambda inner, last: "/" + "/".join([*inner, last]),
    st.lists(WORDS | st.just("*"), max_size=3),
    WORDS | st.sampled_from(["*", "**", "", "**"]),
)
HOSTS = st.sampled_from(["", "x.test", "y.x.test", "*.test", "*.x.test", "test", "[::1]"])
METHODS = st.none() | st.frozensets(st.sampled_from(["GET", "HEAD", "POST"]), min_size=1)
ROUTES = st.lists(
    st.tuples(st.lists(HOSTS, min_size=1, max_size=2, unique=True), st.lists(PATHS, min_size=1, max_size=2, unique=True), METHODS),
    max_size=7,
)  # fmt: skip
SEGMENTS = st.sampled_from(["a", "b", "c", "%61", "a;x", "%C3%A9", "a%2fb", "%25", ""])
TARGETS = st.sampled_from(NEAR_TARGETS) | st.lists(SEGMENTS, min_size=1, max_size=4).map(
    lambda pieces: "/" + "/".join(pieces)
)
REQUEST_HOSTS = st.sampled_from(
    ["x.test", "y.x.test", "z.y.x.test", "test", "q.test", "[::1]", "other"]
)


def table(routes: Sequence[Route]) -> Table:
    """A table of these routes, none of which tie."""
    made = Table()
    for route in routes:
        assert list(made.add(route)) == []
    return made


def named(
    name: str, *paths: str, hosts: Sequence[str] = ("",), methods: Sequence[str] = ()
) -> Route:
    allowed = frozenset(methods) if methods else None
    return Route(name, "u", tuple(hosts), paths, allowed)


def found(made: Table, target: str, host: str = "x.test", method: str = "GET") -> str:
    """The route's name, or the refusal's code."""
    try:
        return made.find(host, method, parse_target(target)).name
    except Refusal as refusal:
        return refusal.code


def host_rank(pattern: str, host: str) -> tuple[int, int] | None:
    """Exact before suffix (longer first) before any; None where it does not match."""
    if pattern == "":
        return (2, 0)
    if pattern.startswith("*."):
        matches = host.endswith(pattern[1:]) and len(host) > len(pattern[1:])
        return (1, -len(pattern)) if matches else None
    return (0, 0) if pattern == host else None


def path_rank(pattern: str, segments: tuple[str, ...]) -> tuple[int, ...] | None:
    """0 for a literal, 1 for `*`, 2 for the end, 3 for `**`, segment by segment; None where it does not match."""
    parts = pattern[1:].split("/")
    rest = parts[-1] == "**"
    parts = parts[:-1] if rest else parts
    if len(segments) < len(parts) or (len(segments) > len(parts) and not rest):
        return None
    for part, segment in zip(parts, segments, strict=False):
        if part != segment and (part != "*" or not segment):
            return None
    return (*(1 if part == "*" else 0 for part in parts), 3 if rest else 2)


def reference(routes: Sequence[Route], host: str, method: str, target: str) -> str:
    """Section 3 of the contract, word by word: rank all patterns, then choose by method."""
    parsed = parse_target(target)
    ranked = []
    for route in routes:
        for host_pattern in route.hosts:
            for path in route.paths:
                ranks = host_rank(host_pattern, host), path_rank(path, parsed.segments)
                if None not in ranks:
                    ranked.append((ranks, host_pattern, path, route))
    if not ranked:
        return "bad_request" if parsed.doubts else "no_route"
    best = min(ranked, key=lambda r: r[0])
    same = [r[3] for r in ranked if r[1:3] == best[1:3]]
    takes = [r for r in same if r.methods is None or method in r.methods]
    if not takes:
        return "bad_request" if parsed.doubts else "method_not_allowed"
    return takes[0].name if parsed.doubts <= takes[0].allowed_doubts else "bad_request"


@settings(max_examples=600)
@given(ROUTES, REQUEST_HOSTS, st.sampled_from(["GET", "HEAD", "PUT"]), TARGETS)
def test_find_is_what_the_contract_says(
    drawn: list[tuple[list[str], list[str], frozenset[str] | None]],
    host: str,
    method: str,
    target: str,
) -> None:
    """The trie and a naive reading of the rules agree, for any routes that do not tie and any request."""
    made = Table()
    routes: list[Route] = []
    for number, (hosts, paths, methods) in enumerate(drawn):
        doubts = frozenset({ENCODED_SLASH, DOUBLE_SLASH}) if number % 2 else frozenset()
        route = Route(f"r{number}", "u", tuple(hosts), tuple(paths), methods, allowed_doubts=doubts)
        trial = Table()
        if not any(tie for r in (*routes, route) for tie in trial.add(r)):
            routes.append(route)
            assert list(made.add(route)) == []
    assert found(made, target, host, method) == reference(routes, host, method, target)


@pytest.mark.parametrize("host", ["", "*.test", "x.test"])
def test_three_patterns_of_one_host_are_ranked_as_the_contract_says(host: str) -> None:
    """Every three of a dozen patterns against every target that could tell them apart."""
    for paths in combinations(NEAR, 3):
        routes = [named(path, path, hosts=[host]) for path in paths]
        made = table(routes)
        for target in NEAR_TARGETS:
            assert found(made, target) == reference(routes, "x.test", "GET", target), (
                paths,
                target,
            )


@given(ROUTES, REQUEST_HOSTS, TARGETS, st.randoms())
def test_the_order_of_routes_means_nothing(
    drawn: list[tuple[list[str], list[str], frozenset[str] | None]],
    host: str,
    target: str,
    order: random.Random,
) -> None:
    """Shuffled, the routes answer the same; where two tie in one order they tie in the other."""
    routes = [Route(f"r{i}", "u", tuple(h), tuple(p), m) for i, (h, p, m) in enumerate(drawn)]
    shuffled = order.sample(routes, len(routes))
    one, other = Table(), Table()
    ties = [[tie for r in rs for tie in t.add(r)] for t, rs in ((one, routes), (other, shuffled))]
    assert bool(ties[0]) is bool(ties[1])
    if not ties[0]:
        assert found(one, target, host) == found(other, target, host)


SPECIFIC = [
    named("literal", "/a/b"),
    named("star", "/a/*"),
    named("end", "/a"),
    named("rest", "/a/**"),
    named("slash", "/a/"),
    named("first-star", "/*/b"),
    named("all", "/**"),
]


@pytest.mark.parametrize("order", list(permutations(range(4))))
def test_the_more_specific_wins_in_every_order(order: tuple[int, ...]) -> None:
    """Literal before `*` before `**`, the end before `**`; files and routes may stand in any order."""
    made = table([*(SPECIFIC[i] for i in order), *SPECIFIC[4:]])
    targets = ["/a/b", "/a/c", "/a", "/a/", "/a/b/c", "/z/b", "/z", "/", "/z/y"]
    names = ["literal", "star", "end", "slash", "rest", "first-star", "all", "all", "all"]
    assert [found(made, target) for target in targets] == names


def test_a_literal_segment_decides_before_a_later_one() -> None:
    """Segment by segment: `/a/*/c` and `/*/b/c` both fit `/a/b/c`, the first literal wins; a dead end is left again."""
    made = table(
        [
            named("one", "/a/*/c"),
            named("two", "/*/b/c"),
            named("three", "/a/b/d"),
            named("four", "/*/b/e"),
        ]
    )
    assert [found(made, t) for t in ("/a/b/c", "/z/b/c", "/a/b/d", "/a/b/e")] == ["one", "two", "three", "four"]  # fmt: skip


def test_what_follows_one_pattern_follows_no_other() -> None:
    """Nodes where nothing follows share one emptiness, and nobody writes to it."""
    table = Table()
    for path in ("/a", "/b", "/a/c"):
        assert list(table.add(Route(path, "app", paths=(path,)))) == []
    assert table.find("", "GET", parse_target("/a/c")).name == "/a/c"
    with pytest.raises(Refusal, match="no_route"):
        table.find("", "GET", parse_target("/b/c"))
    assert not NOTHING


def test_a_star_is_one_segment_that_is_not_empty() -> None:
    """`/a/*` takes neither `/a` nor `/a/` nor `/a/b/c`."""
    made = table([named("star", "/a/*")])
    assert [found(made, t) for t in ("/a/b", "/a", "/a/", "/a/b/c")] == ["star", *["no_route"] * 3]


def test_a_rest_takes_what_is_at_below_and_behind_it() -> None:
    """`/a/**` takes `/a`, `/a/`, `/a/b`; never `/ab`."""
    made = table([named("rest", "/a/**")])
    assert [found(made, t) for t in ("/a", "/a/", "/a/b/c", "/ab")] == [*["rest"] * 3, "no_route"]


def test_a_slash_at_the_end_makes_another_path() -> None:
    """`/a` and `/a/` differ, and so do `/a` and `/A`."""
    made = table([named("bare", "/a"), named("slash", "/a/")])
    assert [found(made, t) for t in ("/a", "/a/", "/A")] == ["bare", "slash", "no_route"]


def test_segments_are_matched_decoded() -> None:
    """`/%61` is `/a`, and a pattern is written as the path decodes."""
    made = table([named("a", "/a/é")])
    assert found(made, "/%61/%C3%A9") == "a"


def test_hosts_exact_before_longer_suffix_before_any() -> None:
    """A suffix takes one or more labels, and not itself."""
    hosts = ["x.test", "*.x.test", "*.test", ""]
    made = table([named(host or "any", "/a", hosts=[host]) for host in hosts])
    asked = ["x.test", "y.x.test", "z.y.x.test", "q.test", "test", "xtest"]
    assert [found(made, "/a", h) for h in asked] == ["x.test", "*.x.test", "*.x.test", "*.test", "any", "any"]  # fmt: skip


def test_where_no_path_of_a_host_fits_the_next_host_is_tried() -> None:
    """The most specific host decides only where it has a path for the request."""
    made = table(
        [
            named("exact", "/a", hosts=["x.test"]),
            named("suffix", "/b", hosts=["*.test"]),
            named("any", "/**"),
        ]
    )
    assert [found(made, t) for t in ("/a", "/b", "/c")] == ["exact", "suffix", "any"]


def test_a_less_specific_path_is_never_tried_for_a_method() -> None:
    """405 with Allow, also where `/**` or another host would take the method."""
    made = table(
        [named("post", "/a", methods=["POST", "PATCH"], hosts=["x.test"]), named("all", "/**")]
    )
    with pytest.raises(Refusal) as caught:
        made.find("x.test", "GET", parse_target("/a"))
    assert caught.value.code == "method_not_allowed"
    assert caught.value.headers == (("Allow", "PATCH, POST"),)


def test_routes_of_one_pattern_are_chosen_by_method() -> None:
    """GET does not include HEAD, and methods are case-sensitive."""
    made = table([named("read", "/a", methods=["GET"]), named("write", "/a", methods=["POST"])])
    assert [found(made, "/a", method=m) for m in ("GET", "POST", "HEAD", "get")] == ["read", "write", "method_not_allowed", "method_not_allowed"]  # fmt: skip


@pytest.mark.parametrize(
    ("one", "other", "ties"),
    [
        (["GET"], ["GET", "POST"], True),
        (["GET"], [], True),
        ([], ["GET"], True),
        ([], [], True),
        (["GET"], ["POST"], False),
    ],
)
def test_the_same_pattern_with_a_common_method_is_a_tie(
    one: list[str], other: list[str], ties: bool
) -> None:
    """Nobody could say which of the two is meant; a route without methods has them all."""
    made = Table()
    first = named("one", "/a/*", hosts=["x.test", "y.test"], methods=one)
    assert list(made.add(first)) == []
    assert (
        list(made.add(named("two", "/b", "/a/*", hosts=["y.test"], methods=other)))
        == [first] * ties
    )
    assert list(made.add(named("three", "/a/*", methods=one))) == []


@pytest.mark.parametrize(
    ("target", "doubt"),
    [("/a/x%2fy", ENCODED_SLASH), ("/a/100%25", ENCODED_PERCENT), ("/a//b", DOUBLE_SLASH)],
)
def test_a_doubt_is_judged_once_the_route_is_known(target: str, doubt: str) -> None:
    """Only the route that names it forwards it; without a route it is a bad request, never a 404 or a 405."""
    allowing = Route("allowing", "u", paths=("/a/**",), allowed_doubts=frozenset({doubt}))
    assert found(table([allowing]), target) == "allowing"
    assert found(table([named("plain", "/a/**")]), target) == "bad_request"
    assert found(table([named("post", "/a/**", methods=["POST"])]), target) == "bad_request"
    assert found(Table(), target) == "bad_request"


def test_an_encoded_slash_separates_nothing() -> None:
    """The segment `x/y` is one, for `*` as for literals."""
    doubts = frozenset({ENCODED_SLASH})
    made = table(
        [Route("one", "u", paths=("/a/*",), allowed_doubts=doubts), named("two", "/a/x/y")]
    )
    assert found(made, "/a/x%2fy") == "one"


def test_serves_says_which_hosts_are_named() -> None:
    """A route without hosts names them all."""
    some = table([named("r", "/a", hosts=["x.test", "*.y.test"])])
    assert [some.serves(h) for h in ("x.test", "a.y.test", "y.test", "z")] == [
        True,
        True,
        False,
        False,
    ]
    assert table([named("r", "/a")]).serves("z")
    assert not Table().serves("z")
    assert [some.names(h) for h in ("x.test", "a.y.test", "z")] == [True, True, False]
    assert not table([named("r", "/a")]).names("z")


def test_candidates_are_all_that_share_the_pattern() -> None:
    """Whatever their methods; nothing where no pattern fits."""
    made = table(
        [named("read", "/a", methods=["GET", "HEAD"]), named("write", "/a", methods=["POST"])]
    )
    assert {r.name for r in made.candidates("x.test", parse_target("/a"))} == {"read", "write"}
    assert list(made.candidates("x.test", parse_target("/b"))) == []


@pytest.mark.parametrize("count", [1, 100, 101, 1000])
def test_cve_2026_27588_many_hosts_are_matched_as_one_is(count: int) -> None:
    """The number of routes changes nothing about how a host or a path is matched."""
    made = table([named(f"r{i}", "/a", hosts=[f"h{i}.test"]) for i in range(count)])
    assert found(made, "/a", "h0.test") == "r0"
    assert found(made, "/a", "H0.test") == "no_route"


def find_time(count: int) -> float:
    """Seconds for some look-ups among so many routes, the median of several."""
    made = table([named(f"r{i}", f"/api/v{i}/**", f"/api/v{i}/*/x") for i in range(count)])
    target = parse_target(f"/api/v{count - 1}/orders/12")
    times = []
    for _ in range(9):
        start = time.perf_counter()
        for _ in range(2000):
            target.memo.clear()  # else it would be at hand, however many there are
            made.find("x.test", "GET", target)
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def test_finding_costs_the_same_among_ten_routes_and_ten_thousand() -> None:
    """The cost of a look-up does not grow with the number of routes."""
    assert find_time(10_000) / find_time(10) < 2.5


def test_what_was_found_is_of_its_table_host_and_method() -> None:
    """A path that is asked for again has its route at hand; of another host, method or table, or once a route came, it is found anew."""
    made, other = table([named("any", "/memo/*")]), table([named("others", "/memo/*")])
    for asked, name in ((made, "any"), (other, "others"), (made, "any"), (made, "any")):
        assert found(asked, "/memo/1?a=b") == name
    assert list(made.add(named("own", "/memo/*", hosts=["y.test"]))) == []
    assert list(made.add(named("exact", "/memo/1", methods=["POST"]))) == []
    assert found(made, "/memo/1", "y.test", "POST") == "own"
    assert found(made, "/memo/1", method="POST") == "exact"
    assert found(made, "/memo/1?a=b") == "method_not_allowed"  # it was found before the route came
    assert found(made, "/memo/1", method="POST") == "exact"
    assert found(made, "/memo/2", method="POST") == "any"


def test_what_is_refused_is_not_kept() -> None:
    """A doubt that the route does not allow, a method that it does not take: refused at the second look as at the first."""
    made = table([named("any", "/**", methods=["GET"])])
    for target, method, code in (("/refused%2Fb", "GET", "bad_request"), ("/refused", "PUT", "method_not_allowed")):  # fmt: skip
        assert [found(made, target, method=method) for _ in range(2)] == [code] * 2
        assert parse_target(target).memo == []
