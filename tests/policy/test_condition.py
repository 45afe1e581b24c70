"""Conditions: the declarative ones over what is missing, and CEL within its bounds."""

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.address import parse_address, parse_network
from authproxy.model.identity import Identity
from authproxy.policy import condition
from authproxy.policy.condition import (
    COMPREHENSIONS_MOST,
    SOURCE_MOST,
    Condition,
    Entry,
    Expression,
    ExpressionError,
    when,
    without_texts,
)
from tests.policy.reading import ALICE, request


def holds(wanted: Condition, identity: Identity | None = ALICE, **parts: Any) -> bool:
    return wanted.outcome(request(identity, **parts)).holds


def with_claims(**claims: Any) -> Identity:
    return Identity("tokens", "alice", claims=claims)


def test_groups_any_of_them() -> None:
    """One common group is enough."""
    identity = Identity("a", "s", groups=("ops", "x"))
    assert holds(condition.groups(["eng", "ops"]), identity)
    assert not holds(condition.groups(["eng"]), identity)


def test_scopes_all_of_them() -> None:
    """Every scope must be there."""
    identity = Identity("a", "s", scopes=frozenset({"read", "orders"}))
    assert holds(condition.scopes(["read", "orders"]), identity)
    assert not holds(condition.scopes(["read", "write"]), identity)


def test_subjects_and_authenticators_are_exact() -> None:
    """Names are compared as they are, case and all."""
    assert holds(condition.subjects(["bob", "alice"]))
    assert not holds(condition.subjects(["Alice", "alic"]))
    assert holds(condition.authenticators(["tokens"]))
    assert not holds(condition.authenticators(["staff"]))


def test_networks_hold_the_client() -> None:
    """The client's address, IPv4-mapped as IPv4."""
    inside = condition.networks([parse_network("10.0.0.0/8"), parse_network("fd00::/8")])
    clients = ["10.1.2.3", "::ffff:10.1.2.3", "fd00::1", "11.0.0.1"]
    assert [holds(inside, client=parse_address(c)) for c in clients] == [True, True, True, False]


@pytest.mark.parametrize(
    ("claims", "name", "wanted", "expected"),
    [
        ({"tenant": "acme"}, "tenant", "acme", True),
        ({"tenant": "acme"}, "tenant", "ACME", False),
        ({"level": 2}, "level", [2, 3], True),
        ({"level": 2.0}, "level", 2, True),
        ({"level": "2"}, "level", 2, False),
        ({"level": True}, "level", 1, False),
        ({"level": 1}, "level", True, False),
        ({"roles": ["a", "b"]}, "roles", "b", True),
        ({"roles": ["a", "b"]}, "roles", ["c", "b"], True),
        ({"roles": []}, "roles", ["a"], False),
        ({"roles": [["a"]]}, "roles", "a", False),
        ({"a": {"b": "c"}}, "a.b", "c", True),
        ({}, "tenant", "acme", False),
        ({"tenant": None}, "tenant", "acme", False),
        ({"tenant": {"acme": 1}}, "tenant", "acme", False),
    ],
)
def test_a_claim_equals_in_type_and_value(
    claims: dict[str, Any], name: str, wanted: Any, expected: bool
) -> None:
    """A list here is any of; a list in the token contains any of."""
    assert holds(condition.claim(name, wanted), with_claims(**claims)) is expected


def test_a_declarative_condition_over_something_missing_does_not_hold() -> None:
    """Nobody is in no group: without an identity none of them holds, and none is an error."""
    made = [
        condition.groups(["a"]), condition.scopes(["a"]), condition.subjects(["a"]),
        condition.authenticators(["a"]), condition.claim("a", "a"),
    ]  # fmt: skip
    outcomes = [one.outcome(request(None)) for one in made]
    assert not any(outcome.holds or outcome.error for outcome in outcomes)


@pytest.mark.parametrize(
    "source",
    [
        'request.method == "GET" && request.host == "a.test" && request.path == "/a/b"',
        'request.client == "127.0.0.1"',
        'request.headers["x-a"] == "1, 2"',
        'identity.subject == "alice" && identity.authenticator == "tokens"',
        '"eng" in identity.groups && "read" in identity.scopes',
        "!has(identity.email) && !has(identity.username) && !has(identity.name)",
        "claims.level >= 3",
        "!has(claims.tenant) || claims.tenant == 'acme'",
        'now > timestamp("2020-01-01T00:00:00Z")',
        'request.path.startsWith("/a/")',
        'request.path.matches("^/a/[a-z]$")',
        "identity.groups.exists(g, g == 'eng')",
    ],
)
def test_cel_sees_the_request_the_identity_the_claims_and_now(source: str) -> None:
    """The names of the contract, and nothing else."""
    assert when(source).test(request(lines=[(b"X-A", b"1"), (b"x-a", b"2")])) is True


@pytest.mark.parametrize(
    "source",
    [
        "claims.tenant == 'acme'",
        "identity.email == 'a@x'",
        'request.headers["x-none"] == ""',
        "claims.level",
        "claims.sub",
        "claims.level > 'x'",
        "1 / (claims.level - 3) > 0",
        "claims.level + 'x' == 'y'",
    ],
)
def test_reading_what_is_missing_or_no_boolean_is_an_error(source: str) -> None:
    """An error is neither true nor false: `allow` fails with it, and `deny` holds."""
    outcome = when(source).outcome(request())
    assert not outcome.holds
    assert outcome.error
    assert isinstance(when(source).test(request()), str)


def test_trap_an_error_value_is_truthy_and_never_holds() -> None:
    """Google's binding returns errors as values that are true to Python."""
    assert when("claims.nothing").test(request()) is not True
    assert when("claims.nothing").test(request(None)) is not True


@pytest.mark.parametrize(
    ("source", "column"),
    [
        ("", 0),
        ("  ", 0),
        ("claims.x ==", 11),
        ("request.foo == 1", 8),
        ("true && identity.role == 'x'", 17),
        ("nothing.x", 7),
        ("1 + 1", 0),
        ("'text'", 0),
        ("x" * (SOURCE_MOST + 1), 0),
        ("true &&\n  claims.x ==", 0),
        ("(" * 200 + "true" + ")" * 200, 0),
        ("true" + ".all(x, true)" * (COMPREHENSIONS_MOST + 1), 0),
        ("[1].all (x, true)" + " && [1] . map(x, x) == [1]" * COMPREHENSIONS_MOST, 0),
        ("'\ud800' == ''", 0),
        ("true\0 && false", 4),
    ],
)
def test_an_expression_that_cannot_be_used_points_at_where(source: str, column: int) -> None:
    """Syntax, names, types and bounds are looked at when the files are loaded."""
    with pytest.raises(ExpressionError) as caught:
        when(source)
    assert caught.value.column == column
    assert len(str(caught.value).splitlines()) == 1


def test_a_text_may_say_anything() -> None:
    """What looks like a name inside a string literal is text."""
    assert holds(when('"request.foo .all(x" != "identity.role"'))
    assert without_texts("""a + 'it\\'s' + "b" """) == """a + "_____" + "_" """


@given(
    st.text(max_size=40)
    | st.lists(
        st.sampled_from(["claims", ".", "x", "(", ")", "[", "]", "==", "'a'", "1", "&&", "!", "has", "request.path", ".map(", ",", "?", ":", "{", "}", "\n"]),
        max_size=12,
    ).map("".join)
)  # fmt: skip
def test_any_source_is_an_expression_or_an_expression_error(source: str) -> None:
    """Compiled or refused, and once compiled it comes to true, false or a text."""
    try:
        made = Expression(source, boolean=True)
    except ExpressionError as error:
        if not 0 <= error.column <= len(source):
            pytest.fail("the column is outside the source")
        return
    assert isinstance(made.test(request()), bool | str)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@given(st.dictionaries(st.sampled_from(["a", "b"]), JSON))
def test_any_claims_come_to_an_outcome(claims: dict[str, Any]) -> None:
    """Integers past 64 bits, lone surrogates, nesting: an error at worst, which never holds."""
    outcome = when("claims.a == claims.b || claims.a == 1").outcome(request(with_claims(**claims)))
    assert not (outcome.holds and outcome.error)


@pytest.mark.parametrize(
    "claims", [{"a": "acme\0x"}, {"a": "acme", "b": [{"c": "\0"}]}, {"a": "acme", "b\0c": 1}]
)
def test_trap_a_text_is_not_cut_at_a_nul(claims: dict[str, Any]) -> None:
    """Google's binding would take `acme` and a NUL for `acme`: it is an error, wherever it stands."""
    outcome = when("claims.a == 'acme'").outcome(request(with_claims(**claims)))
    assert not outcome.holds
    assert "NUL" in outcome.error


def test_deeply_nested_claims_come_to_an_outcome() -> None:
    """A token may be nested as deep as its bound of bytes allows; the process lives on."""
    nested: Any = 1
    for _ in range(900):
        nested = [nested]
    assert not holds(when("claims.a == 1"), with_claims(a=nested))


@pytest.mark.parametrize(
    "source",
    [
        "claims.l.all(a, claims.l.all(b, claims.l.all(c, claims.l.all(d, a + b + c + d >= 0))))",
        "claims.l.map(a, claims.l).map(b, b.map(c, claims.l)).size() > 0",
        "claims.l" + ".map(x, x + x)" * COMPREHENSIONS_MOST + ".size() > 0",
        f"'{'a' * 2000}'.matches('(a*)*(a*)*b')",
    ],
)
def test_an_expensive_expression_is_bounded_in_time(source: str) -> None:
    """It ends in an error, or in time: iterations have a budget, and regular expressions are linear."""
    identity = with_claims(l=list(range(2000)))
    start = time.perf_counter()
    assert isinstance(when(source).test(request(identity)), bool | str)
    assert time.perf_counter() - start < 3


def test_a_header_value_is_text_or_nothing() -> None:
    """What is missing or of another type sets no header."""
    sources = ["identity.subject", "claims.tenant", "claims.level", "string(claims.level)"]
    assert [Expression.of_text(s).text(request()) for s in sources] == ["alice", None, None, "3"]
    with pytest.raises(ExpressionError):
        Expression.of_text("1 + 1")


def test_an_entry_is_written_as_one_line() -> None:
    """What `explain` shows of an entry is what the file says."""
    made = Entry((condition.groups(["a", "b"]), condition.claim("t", 1), when("claims.x == 1")))
    assert made.text == "groups: [a, b] and claims.t: 1 and when: claims.x == 1"
