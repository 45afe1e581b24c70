"""Warnings about CEL expressions: each of them shown to be so, and what cannot be told passed over."""

import json

import pytest

from authproxy.model.headers import HeaderRules
from authproxy.model.identity import Identity
from authproxy.policy.lint import lint
from tests.policy.reading import parsed, request, route, route_text


def warnings(source: str, listed: str = "allow", strip: tuple[str, ...] = ()) -> list[str]:
    """The codes for one expression in an entry of this list."""
    entries = json.dumps([{"when": source}])
    text = route_text(allow=entries) if listed == "allow" else route_text(f"deny: {entries}")
    return [p.code for p in lint(parsed(text), HeaderRules(strip))]


@pytest.mark.parametrize(
    ("source", "code"),
    [
        ('request.path.startsWith("/a")', "loose-match"),
        ('request.path.startsWith("/a/")', ""),
        ('request.path.startsWith("/")', ""),
        ('request.path == "/a" || request.path.startsWith("/a/")', ""),
        ("request.host.endsWith('acme.test')", "loose-match"),
        ('request.host.endsWith(".acme.test")', ""),
        ('claims.user.email.endsWith("acme.test")', "loose-match"),
        ('identity.email.endsWith("@acme.test")', ""),
        ('identity.subject.endsWith("acme.test")', ""),
        ('claims.a.matches("x")', "unanchored-regex"),
        ('claims.a.matches("^x")', "unanchored-regex"),
        ('claims.a.matches("x$")', "unanchored-regex"),
        ('claims.a.matches("^x$")', ""),
        ('claims.a.matches("^x.*")', ""),
        ('claims.a.matches("(?i)^x$")', ""),
        ('claims.a.matches("^a|b$")', "unanchored-regex"),
        ('claims.a.matches("^a$|^b$")', ""),
        ('claims.a.matches("^(a|b)$")', ""),
        ('claims.a.matches("^[|)]$")', ""),
        (r'claims.a.matches("^a\\$")', "unanchored-regex"),
        (r'claims.a.matches(r"^a\|b$")', ""),
        (r'claims.a.matches(r"^a\z")', ""),
        ('claims.a.matches("^a.test$")', "regex-dot"),
        (r'claims.a.matches(r"^a\.test$")', ""),
        (r'claims.a.matches("^a\\.test$")', ""),
        ('claims.a.matches("^[a.test]$")', ""),
        (r'claims.a.matches("^x\t")', ""),  # an escape that is not read here
        ('string(claims.a).matches("x")', "unanchored-regex"),
        ('request.method == "get"', "never-equal"),
        ('"Get" == request.method', "never-equal"),
        ('request.method == "PURGE"', ""),
        ('request.host == "A.test"', "never-equal"),
        ('request.host == "a.test:80"', "never-equal"),
        ('request.host == "a.test."', "never-equal"),
        ('request.host == "[::1]"', ""),
        ('request.path == "a"', "never-equal"),
        ('request.path == "/a?b=c"', "never-equal"),
        ('request.client == "10.0.0.0/8"', "never-equal"),
        ('"x" + request.host == "xA"', ""),
        ('request.path + "?x" == "/a?x" + "?y"', ""),
        ('claims.note == "request.method == get"', ""),
        ('request.headers["X-A"] == "b"', "header-never-seen"),
        ('request.headers["x-a"] == "b"', ""),
        ('"cookie" in request.headers', "header-never-seen"),
        ('"authorization" in request.headers', "header-never-seen"),
        ('request.headers.host == "a"', "header-never-seen"),
        ('request.headers["x_a"] == "b"', "header-never-seen"),
        ('request.headers["x-forwarded-user"] == "b"', "header-never-seen"),
        ('request.headers["x-mine"] == "b"', "header-never-seen"),
        ('request.headers.exists(n, n == "x")', ""),
        ("claims.a.all(x, claims.b.exists(y, x == y))", "cel-cost"),
        ("claims.a.all(x, x > 1) && claims.b.exists(y, y > 1)", ""),
        ('"eng" in identity.groups', "cel-needless"),
        ('identity.subject == "bob"', "cel-needless"),
        ('"eng" in identity.groups && claims.a', ""),
        ('claims.tenant == "acme"', ""),  # not the same: a list in the token contains any of
    ],
)  # fmt: skip
def test_what_is_written_in_an_expression(source: str, code: str) -> None:
    """By its text alone, literals aside."""
    assert warnings(source, strip=("X-Mine",)) == ([code] if code else [])


@pytest.mark.parametrize(
    "text", ['request.path.startsWith("/a")', 'request.host.endsWith("a.test")', 'claims.a.matches("x")']
)  # fmt: skip
def test_what_holds_for_too_much_matters_where_it_lets_somebody_in(text: str) -> None:
    """In `allow`, and negated in `deny`; a `deny` that holds for more refuses more."""
    assert len(warnings(text)) == 1
    assert warnings(text, "deny") == []
    assert warnings(f"!{text}") == []
    assert len(warnings(f"!{text}", "deny")) == 1


@pytest.mark.parametrize(
    ("source", "more"),
    [
        ('request.path.startsWith("/a")', {"target": "/a-and-more"}),
        ('request.host.endsWith("acme.test")', {"host": "evilacme.test"}),
        ('claims.email.endsWith("acme.test")', {"email": "ann@evilacme.test"}),
        ('claims.email.matches("acme|globex")', {"email": "not-acme-at-all"}),
        ('claims.email.matches("^a|b$")', {"email": "a, or so"}),
        ('claims.email.matches("^acme.test$")', {"email": "acmeXtest"}),
    ],
)
def test_it_does_hold_for_more(source: str, more: dict[str, str]) -> None:
    """What the warning says is so."""
    compiled = route(allow=json.dumps([{"when": source}]))
    who = Identity("tokens", "a", claims={"email": more.pop("email", "")})
    exchange = request(who, more.get("target", "/a/b"))
    exchange.host = more.get("host", exchange.host)
    assert [c.test(exchange) for c in (compiled.allow or ())[0].conditions] == [True]
    assert len(warnings(source)) == 1


def test_the_place_is_where_it_is_written() -> None:
    """The column is that of the comparison, behind the quote of the YAML."""
    text = route_text(allow="""[{when: 'claims.a && request.path.startsWith("/a")'}]""")
    (problem,) = lint(parsed(text), HeaderRules())
    assert text[problem.column - 1 :].startswith('startsWith("/a")')


def test_many_expressions_in_one_list_are_said_once() -> None:
    """Each may be evaluated for one request."""
    allow = json.dumps([{"when": f"claims.a == {n}"} for n in range(17)])
    assert [p.code for p in lint(parsed(route_text(allow=allow)), HeaderRules())] == ["cel-cost"]


def test_header_values_are_looked_at() -> None:
    """`headers.set` reads the same fields."""
    text = route_text("""headers: {set: {X-A: 'request.headers["Cookie"]'}}""")
    assert [p.code for p in lint(parsed(text), HeaderRules())] == ["header-never-seen"]
