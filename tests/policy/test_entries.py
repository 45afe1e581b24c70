"""Entries: compiled in the order of their cost, and without identity where nobody is asked."""

import pytest

from authproxy.config.load import fill
from authproxy.config.validate import validate
from authproxy.config.yaml import read_yaml
from authproxy.policy.document import PolicyDocument
from authproxy.policy.parse import parse_policies
from tests.policy.reading import NAMES, codes, parsed, route, route_text


def test_an_entry_is_compiled_cheapest_first() -> None:
    """Sets, networks and claims before CEL, in whatever order they were written."""
    wanted = "{when: 'true', claims: {t: 1}, networks: [10.0.0.0/8], authenticators: [tokens], subjects: [s], scopes: [x], groups: [g]}"
    (entry,) = route(allow=f"[{wanted}]").allow or ()
    words = [condition.text.split(":")[0] for condition in entry.conditions]
    assert words == [
        "groups",
        "scopes",
        "subjects",
        "authenticators",
        "networks",
        "claims.t",
        "when",
    ]


@pytest.mark.parametrize(
    ("entry", "code"),
    [
        ("{}", "empty-entry"),
        ("{networks: [10.0.0.1/8]}", "bad-network"),
        ("{networks: [example.test]}", "bad-network"),
        ("{when: 'claims.x =='}", "bad-expression"),
        ("{when: 'request.role == 1'}", "bad-expression"),
        ("{when: '1 + 1'}", "bad-expression"),
        ("{authenticators: [staff]}", "unknown-authenticator"),
    ],
)
@pytest.mark.parametrize("listed", ["allow", "deny"])
def test_an_entry_that_cannot_be_used_is_an_error(listed: str, entry: str, code: str) -> None:
    """Each problem of an entry is found when the file is read, once."""
    text = route_text(allow=f"[{entry}]") if listed == "allow" else route_text(f"deny: [{entry}]")
    assert codes(parsed(text)) == [code]


@pytest.mark.parametrize(
    "entry",
    [
        "{groups: [g]}", "{scopes: [s]}", "{subjects: [s]}", "{authenticators: [tokens]}", "{claims: {a: 1}}",
        "{when: 'claims.x == 1'}", "{when: 'identity.subject == \"a\"'}", "{when: 'has(claims.x)'}",
    ],
)  # fmt: skip
@pytest.mark.parametrize("listed", ["allow", "deny"])
def test_with_authenticate_none_an_identity_is_not_asked_for(listed: str, entry: str) -> None:
    """Only networks, `when` over the request and `deny` make sense; anything else is one error."""
    allow = f"[{entry}]" if listed == "allow" else ""
    more = f"deny: [{entry}]" if listed == "deny" else ""
    assert codes(parsed(route_text(more, authenticate="none", allow=allow))) == ["needs-identity"]


@pytest.mark.parametrize(
    "entry",
    ["{networks: [10.0.0.0/8]}", "{when: 'request.path == \"/identity\"'}", "{when: '\"claims.x\" != request.headers.identity'}"],
)  # fmt: skip
def test_with_authenticate_none_the_request_may_be_looked_at(entry: str) -> None:
    """The words of a text or a header are no names."""
    assert codes(parsed(route_text(f"deny: [{entry}]", authenticate="none", allow=""))) == []


def test_an_error_in_cel_points_into_the_expression() -> None:
    """Behind the quote, at the column where it goes wrong."""
    (problem,) = parsed('routes:\n- name: r\n  match: {paths: [/a]}\n  upstream: orders\n  authenticate: [tokens]\n  allow:\n  - when: "true && request.role"\n').problems  # fmt: skip
    assert (problem.line, problem.column) == (7, 12 + len("true && request."))


@pytest.mark.parametrize("listed", ["allow", "deny"])
def test_a_mode_is_no_condition(listed: str) -> None:
    """An entry in shadow without conditions would hold for everyone, and is an error like any other; with an open route too."""
    parts = (
        {"allow": "[{mode: shadow}]"} if listed == "allow" else {"more": "deny: [{mode: shadow}]"}
    )
    assert codes(parsed(route_text(**parts))) == ["empty-entry"]
    text = route_text(
        "deny: [{networks: [10.0.0.0/8], mode: shadow}]", authenticate="none", allow=""
    )
    assert codes(parsed(text)) == []


def test_what_several_routes_say_alike_is_compiled_once() -> None:
    """Thousands of routes have few entries between them; what differs in a type or in whom the route asks is another."""
    entries = ["{groups: [g]}", "{groups: [g]}", "{claims: {a: 1}}", "{claims: {a: true}}", "{claims: {a: '1'}}"]  # fmt: skip
    routes = "".join(
        f"- {{name: r{n}, match: {{paths: [/{n}], methods: [GET]}}, upstream: orders, authenticate: [tokens], allow: [{entry}]}}\n"
        for n, entry in enumerate(entries)
    )
    found = parsed(f"routes:\n{routes}").table.routes
    first = [route.allow[0] for route in found if route.allow]
    assert first[0] is first[1]
    assert found[0].methods is found[1].methods
    assert len({id(entry) for entry in first}) == 4


def test_a_mistake_that_two_routes_share_is_told_of_both() -> None:
    """What is wrong is never taken for known."""
    routes = "".join(
        f"- {{name: r{n}, match: {{paths: [/{n}]}}, upstream: orders, authenticate: [tokens], allow: [{{networks: [10.0.0.1/8]}}, {{}}]}}\n"
        for n in range(2)
    )
    assert codes(parsed(f"routes:\n{routes}")) == ["bad-network", "empty-entry"] * 2


def test_a_damaged_route_hides_no_mistake_of_another() -> None:
    """What is not said of a route whose other parts are broken is said of the next one that says the same."""
    text = (
        "routes:\n"
        "- {name: a, match: {paths: [/a]}, upstream: orders, authenticate: [tokens], allow: [{}]}\n"
        "- {name: b, match: {paths: [/b]}, upstream: orders, authenticate: [tokens], allow: [{}]}\n"
    )
    data, source, _ = read_yaml(text.encode(), "0.yaml")
    document, _, _ = validate(PolicyDocument, data, source, fill)
    assert document is not None
    found = parse_policies([(document, source)], NAMES, {("0.yaml", 0): ["allow"]})
    assert [(p.code, p.line) for p in found.problems] == [("empty-entry", 3)]
