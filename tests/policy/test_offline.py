"""Decisions without a server: a described request and identity, and all that would come of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.policy.document import CaseIdentity
from authproxy.policy.offline import (
    Decision,
    PolicySet,
    RequestError,
    decide_request,
    exchange_for,
    identity_of,
)
from tests.policy.reading import parsed, route_text


@pytest.mark.parametrize(
    ("url", "target", "host"),
    [
        ("https://A.test:8443/x?q", "/x?q", "A.test:8443"),
        ("http://a.test", "/", "a.test"),
        ("http://a.test?q", "/?q", "a.test"),
        ("https://[::1]:1/%2e", "/%2e", "[::1]:1"),
    ],
)
def test_a_url_is_the_request_it_would_make(url: str, target: str, host: str) -> None:
    """Target and host as a client would send them, nothing resolved or decoded."""
    exchange = exchange_for("GET", url, client="::ffff:10.0.0.1", now=1.0)
    assert (exchange.raw_target, exchange.host_field) == (target, host)
    assert exchange.scheme == url.split(":", maxsplit=1)[0]
    assert str(exchange.client) == "10.0.0.1"
    assert (exchange.client_text, exchange.chain) == ("10.0.0.1", ("10.0.0.1",))


@given(st.text(max_size=30), st.text(max_size=10) | st.none(), st.text(max_size=5))
def test_any_request_is_decided_or_cannot_be_read(url: str, client: str | None, name: str) -> None:
    """Nothing else is raised, whatever is typed."""
    policies = PolicySet(parsed(route_text()).table)
    for text in (url, f"https://{url}", f"https://a.test/{url}"):
        try:
            exchange = exchange_for("GET", text, client=client, now=0.0)
        except RequestError:
            continue
        assert decide_request(policies, exchange, None, {name: url}).verdict != "allow"


def test_an_identity_is_of_the_routes_first_authenticator() -> None:
    """Where the test names none; its subject is also its `sub`."""
    wanted = CaseIdentity.model_validate({"subject": "a", "claims": {"x": 1}})
    identity = identity_of(wanted, ["tokens", "staff"])
    assert (identity.authenticator, identity.claims) == ("tokens", {"x": 1, "sub": "a"})


def decided(text: str, identity: CaseIdentity | None = None, **headers: str) -> Decision:
    """What comes of `GET /a/b`."""
    exchange = exchange_for("GET", "https://a.test/a/b", now=0.0)
    return decide_request(PolicySet(parsed(text).table), exchange, identity, headers)


def test_a_decision_tells_all_of_it() -> None:
    """Verdict, route, who, conditions, limits and the head, as the server would have them."""
    text = route_text("rate_limits: [{limit: 1/minute, per: route}]", allow="[{groups: [eng]}]")
    alice = CaseIdentity.model_validate({"subject": "alice", "groups": ["eng"]})
    found = decided(text, alice, Accept="*/*", Authorization="Bearer x")
    assert (found.verdict, found.allowed, found.route) == ("allow", True, "r")
    assert found.identity == "tokens:alice"
    assert [(s.place, s.outcome.holds) for s in found.conditions] == [("allow[0]", True)]
    assert [limit.key for limit in found.limits] == ["r"]
    assert found.backend_headers is not None
    assert found.backend_headers["Accept"] == "*/*"
    refused = decided(text)
    assert (refused.verdict, refused.identity, refused.backend_headers) == (
        "unauthenticated", None, None,
    )  # fmt: skip


def test_fields_that_no_intake_lets_pass_are_refused_here_too() -> None:
    """A request that could be understood in two ways is decided as the server does."""
    assert decided(route_text(), None, **{"Transfer-Encoding": "gzip"}).verdict == "bad_request"


def test_repeated_fields_are_told_as_one() -> None:
    """In whatever case they are spelled; what the client sent under our own names is none of it."""
    text = route_text(authenticate="none", allow="")
    found = decided(text, None, **{"X-A": "1", "x-a": "2", "Via": "1.0 other"}).backend_headers
    assert found is not None
    assert found["X-A"] == "1, 2"
    assert found["X-Forwarded-For"] == "127.0.0.1"


def test_trap_a_decision_is_neither_true_nor_false() -> None:
    """`if decide(…):` would let everybody in: it is an error."""
    with pytest.raises(TypeError, match="allowed"):
        bool(decided(route_text()))
