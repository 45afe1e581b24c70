"""Warnings about which requests a route gets, held against a table that is asked path by path."""

import random
from itertools import product

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.headers import HeaderRules
from authproxy.model.target import parse_target
from authproxy.policy.lint import lint
from authproxy.policy.parse import Names, Policies
from tests.policy.reading import parsed

OPEN, CLOSED = "authenticate: none", "authenticate: [tokens], allow: authenticated"


def policies(*routes: tuple[str, str]) -> Policies:
    """Routes `0`, `1` and on, of these matches and ways to be asked."""
    lines = [
        f"  - {{name: r{n}, match: {{{match}}}, upstream: orders, {asked}}}"
        for n, (match, asked) in enumerate(routes)
    ]
    return parsed("routes:\n" + "\n".join(lines))


def warnings(*routes: tuple[str, str]) -> list[tuple[int, str]]:
    """Line of the route (from 0) and code."""
    return [(p.line - 2, p.code) for p in lint(policies(*routes), HeaderRules())]


@pytest.mark.parametrize(
    ("inner", "outer", "code"),
    [
        ("paths: [/a/b]", "paths: [/a/**]", "open-inside-protected"),
        ("paths: [/a/*/c]", "paths: [/a/**]", "open-inside-protected"),
        ("paths: [/a/**]", "paths: [/**]", "open-inside-protected"),
        ("hosts: [a.test], paths: [/**]", "paths: [/a/**]", "open-route"),
        ("hosts: [a.test], paths: [/a/b]", "paths: [/a/**]", "open-inside-protected"),
        ("hosts: [a.test], paths: [/**]", "hosts: ['*.test'], paths: [/**]", "open-inside-protected"),
        ("hosts: ['*.a.test'], paths: [/b]", "hosts: ['*.test'], paths: ['/*']", "open-inside-protected"),
        ("paths: [/**]", "paths: [/a/**]", "open-route"),
        ("paths: [/b]", "paths: [/a/**]", "open-route"),
        ("paths: [/a], methods: [GET]", "paths: [/a], methods: [POST]", "open-route"),
    ],
)  # fmt: skip
def test_an_open_route_in_a_protected_one(inner: str, outer: str, code: str) -> None:
    """It is one where its requests would be asked for, were it not there: of each host the nearest pattern behind."""
    assert warnings((inner, OPEN), (outer, CLOSED)) == [(0, code)]


@pytest.mark.parametrize(
    ("protected", "opening", "found"),
    [
        ("paths: [/a]", "paths: [/**]", [(0, "open-way-around"), (1, "open-route")]),
        ("paths: [/a/]", "paths: [/**]", [(0, "open-way-around"), (1, "open-route")]),
        ("paths: ['/a/*']", "paths: [/**]", [(0, "open-way-around"), (1, "open-route")]),
        ("paths: [/a/**]", "paths: [/**]", [(1, "open-route")]),
        ("paths: [/a, /a/]", "paths: [/**]", [(1, "open-route")]),
        ("paths: [/]", "paths: [/x]", [(1, "open-route")]),
        ("hosts: [a.test], paths: [/a/**]", "paths: [/**]", [(1, "open-route"), (1, "open-way-around")]),
        ("hosts: [a.test], paths: [/a/**]", "hosts: [b.test], paths: [/**]", [(1, "open-route")]),
    ],
)  # fmt: skip
def test_a_way_around_a_protected_path(
    protected: str, opening: str, found: list[tuple[int, str]]
) -> None:
    """With a slash more or less, or under another host; said once for each open route where it is the host."""
    assert sorted(warnings((protected, CLOSED), (opening, OPEN))) == found


def test_another_upstream_is_no_way_around() -> None:
    """What the open route serves there is somebody else's."""
    text = "routes:\n  - {name: a, match: {paths: [/a]}, upstream: orders, authenticate: [tokens], allow: authenticated}\n  - {name: b, match: {paths: [/**]}, upstream: other, authenticate: none}"
    read = parsed(text, names=Names({"orders", "other"}, {"tokens"}, HeaderRules()))
    assert [p.code for p in lint(read, HeaderRules())] == ["open-route"]


def _reached(table: Policies, paths: list[str]) -> set[tuple[str, str]]:
    """The patterns that any of these paths comes to."""
    found = set()
    for path in paths:
        try:
            segments = parse_target(path).segments
        except Refusal:
            continue
        leaf = next(table.table.patterns("h.test", segments), None)
        if leaf is not None:
            found.add((leaf.host, leaf.path))
    return found


@pytest.mark.parametrize("seed", range(40))
def test_a_pattern_is_unreachable_exactly_where_no_path_comes_to_it(seed: int) -> None:
    """Against every path of up to four segments over an alphabet with a word that no pattern has."""
    rnd = random.Random(seed)
    patterns = {
        "/" + "/".join([*(rnd.choice("ab*") for _ in range(rnd.randint(0, 2))), rnd.choice(["", "a", "*", "**", "**"])])
        for _ in range(12)
    } | {"/**", "/a/**", "/", "/*/**", "/a", "/a/"}  # fmt: skip
    kept = sorted(rnd.sample(sorted(patterns), k=min(len(patterns), 9)))
    read = policies(*((f"paths: ['{path}']", CLOSED) for path in kept))
    paths = ["/" + "/".join(p) for n in (1, 2, 3, 4, 5) for p in product(["a", "b", "z", ""], repeat=n)]  # fmt: skip
    reached = {path for _, path in _reached(read, [p for p in paths if "//" not in p])}
    said = {kept[p.line - 2] for p in lint(read, HeaderRules()) if p.code == "unreachable-route"}
    assert said == set(kept) - reached
