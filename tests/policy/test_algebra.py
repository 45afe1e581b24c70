"""Conditions as functions of who asks: held against the conditions themselves, over callers made up at random."""

import pytest

from authproxy.model.address import parse_address
from authproxy.model.identity import Identity
from authproxy.policy.algebra import Algebra, Outcome
from authproxy.policy.caller import Known, caller_of, values_of
from authproxy.policy.decide import authorize
from authproxy.policy.diagram import FALSE, TRUE
from authproxy.policy.table import Route
from tests.policy.generated import CLIENTS, Maker, compiled
from tests.policy.reading import request, route


def verdict(algebra: Algebra, found: Route, known: Known) -> list[Outcome]:
    """The outcomes that are certain for this caller."""
    outcomes = algebra.outcomes(found, "GET").items()
    values = values_of(algebra, known)
    return [o for o, f in outcomes if algebra.diagram.given(f, values) == TRUE]


@pytest.mark.parametrize("seed", range(40))
def test_the_functions_are_what_authorize_decides(seed: int) -> None:
    """For whoever comes, exactly one outcome holds, and it is the decision's."""
    maker = Maker(seed)
    for found in compiled(maker.policies(4, whens=False)).table.routes:
        algebra = Algebra([found])
        for _ in range(10):
            who, client = maker.identity(), parse_address(maker.random.choice(CLIENTS))
            if who is None or not found.authenticators or client is None:
                continue
            vouched = maker.random.choice(found.authenticators)
            identity = Identity(vouched, who["subject"], tuple(who["groups"]), frozenset(who["scopes"]), claims=who["claims"])  # fmt: skip
            exchange = request(identity, client=client)
            refused = authorize(found, exchange) is not None
            shadow = bool(exchange.shadow) or (refused and found.shadow)
            wanted = Outcome("forbidden" if refused and not found.shadow else "allow", shadow)
            known = Known(identity.subject, vouched, frozenset(identity.groups), identity.scopes, identity.claims, client)  # fmt: skip
            assert verdict(algebra, found, known) == [wanted]


SAME = [
    ("[{groups: [a, b]}]", "[{groups: [b]}, {groups: [a]}]"),
    ("[{networks: [10.0.0.0/8]}]", "[{networks: [10.0.0.0/9, 10.128.0.0/9]}]"),
    ('[{networks: ["0.0.0.0/0", "::/0"]}]', "authenticated"),
    ("[{claims: {level: 2}}]", "[{claims: {level: [2.0]}}]"),
    ("[{subjects: [a]}, {subjects: [b], groups: [c]}]", "[{subjects: [a]}, {subjects: [a, b], groups: [c]}]"),
    ("[{scopes: [x, y]}]", "[{scopes: [y, x, y]}, {scopes: [x, y], groups: [g]}]"),
    ("[{when: 'claims.level > 1'}]", "[{when: ' claims.level > 1'}, {when: 'claims.level > 1', groups: [g]}]"),
    ("[{authenticators: [tokens]}]", "authenticated"),
    ("[{networks: ['::fffe:0:0/95']}]", "[{networks: ['::fffe:0:0/96']}]"),
]  # fmt: skip
OTHER = [
    ("[{groups: [a, b]}]", "[{groups: [a]}]"),
    ("[{claims: {level: 1}}]", "[{claims: {level: true}}]"),
    ("[{claims: {level: 1}}]", "[{claims: {level: '1'}}]"),
    ("[{scopes: [x, y]}]", "[{scopes: [x]}, {scopes: [y]}]"),
    ("[{networks: [10.0.0.0/8]}]", "[{networks: [10.0.0.0/9]}]"),
    ("[{groups: [a]}]", "[{scopes: [a]}]"),
    ("[{subjects: [a]}]", "[{subjects: [b]}]"),
    ("[{claims: {a.b: x}}]", "[{claims: {a: x}}]"),
    ("[{claims: {amr: mfa}}]", "[{claims: {amr: [pwd, otp]}}]"),
    ("[{claims: {level: .nan}}]", "authenticated"),
]


def both(one: str, other: str) -> tuple[Algebra, int, int]:
    """Whom two routes permit, in one algebra."""
    routes = [route(allow=one), route(allow=other)]
    algebra = Algebra(routes)
    f, g = (algebra.diagram.every((algebra.permitted(r), algebra.vouched(r))) for r in routes)
    return algebra, algebra.possible(f), algebra.possible(g)


@pytest.mark.parametrize(("one", "other"), SAME)
def test_what_means_the_same_is_the_same(one: str, other: str) -> None:
    """Two spellings of one meaning are one function."""
    _, f, g = both(one, other)
    assert f == g


@pytest.mark.parametrize(("one", "other"), OTHER)
def test_what_differs_has_somebody_who_shows_it(one: str, other: str) -> None:
    """Two meanings are two functions, and the caller made up for their difference is decided differently."""
    algebra, f, g = both(one, other)
    assert f != g
    d = algebra.diagram
    caller = caller_of(algebra, d.some((d.minus(f, g), d.minus(g, f))))
    refused = [
        authorize(route(allow=a), request(caller.identity, client=caller.client)) is not None
        for a in (one, other)
    ]
    assert refused[0] != refused[1]


def test_a_when_fails_on_both_sides() -> None:
    """An error of `when` neither allows nor spares: the same text in `allow` and `deny` lets nobody in."""
    found = route("deny: [{when: 'claims.level > 1'}]", allow="[{when: 'claims.level > 1'}]")
    algebra = Algebra([found])
    assert algebra.permitted(found) == FALSE
    spared = route("deny: [{when: 'claims.level > 1'}]")
    algebra = Algebra([spared])
    f = algebra.permitted(spared)
    assert algebra.definite(f) == FALSE
    assert algebra.unknowns(f) == ("claims.level > 1",)
    assert caller_of(algebra, f).words[-1] == "where `claims.level > 1` is not true"


def test_a_second_factor_is_a_list() -> None:
    """`second_factor` and a claim `amr` go together: one text proves nothing, a list may."""
    found = route("second_factor: true", allow="[{claims: {amr: mfa}}]")
    algebra = Algebra([found])
    caller = caller_of(algebra, algebra.permitted(found))
    assert caller.identity is not None
    assert caller.identity.claims["amr"] == ["mfa"]
    without = (
        algebra.diagram.minus(algebra.entry(found.allow[0]), algebra.permitted(found))
        if found.allow
        else 0
    )
    alone = caller_of(algebra, without)
    assert alone.identity is not None
    assert alone.identity.claims["amr"] == "mfa"
