"""The policies' own tests: decided by the server's function, and told precisely where they fail."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.source import Source
from authproxy.policy.cases import (
    Case,
    Result,
    URLError,
    collect_cases,
    exchange_for,
    identity_of,
    run_case,
)
from authproxy.policy.document import CaseDocument, CaseIdentity, PolicyDocument
from tests.policy.reading import parsed, route_text

URL = "https://a.test/a/b"
IDENTITY = {"subject": "alice", "groups": ["eng"]}


def run(
    *, route: str = route_text(allow="[{groups: [eng]}]"), url: str = URL, **case: object
) -> Result:
    wanted = CaseDocument.model_validate({"request": f"GET {url}", "expect": "allow", **case})
    return run_case(parsed(route).table, Case(wanted, Source("f.yaml"), ("tests", 0)), 1.7e9)


def test_a_test_that_comes_to_what_it_expects_passes() -> None:
    """The verdict and, where it is named, the route."""
    assert run(identity=IDENTITY).failures == ()
    assert run(expect="unauthenticated").failures == ()
    assert run(identity={"subject": "bob"}, expect="forbidden").failures == ()
    assert (
        run(identity={"subject": "bob", "authenticator": "other"}, expect="token_invalid").failures
        == ()
    )
    assert run(url="https://a.test/none", expect="no_route").failures == ()
    assert run(url="https://a.test/a/../b", expect="bad_request").failures == ()


def test_a_test_that_fails_says_what_it_got_and_why() -> None:
    """Expected and found, for the verdict and for the route."""
    assert run(identity={"subject": "bob"}).failures == (
        "expected allow, got forbidden (no entry of allow holds)",
    )
    wanted = {"request": f"GET {URL}", "expect": "allow", "route": "other", "identity": IDENTITY}
    case = Case(CaseDocument.model_validate(wanted), Source("f.yaml"), ("tests", 0))
    table = parsed(route_text(allow="[{groups: [eng]}]")).table
    assert run_case(table, case, 0.0).failures == ("expected route other, got r",)


def test_a_url_that_cannot_be_read_is_a_failure_of_its_test() -> None:
    """No exception, and the text says what to write."""
    assert "absolute URL" in run(url="a.test/a").failures[0]
    assert "IP address" in run(client="localhost").failures[0]


def test_the_client_and_the_headers_are_looked_at() -> None:
    """As conditions see them."""
    text = route_text(
        authenticate="none",
        allow='[{networks: [10.0.0.0/8], when: \'request.headers["x-a"] == "1"\'}]',
    )
    assert run(route=text, client="10.0.0.1", headers={"X-A": "1"}).failures == ()
    assert (
        run(route=text, client="10.0.0.1", headers={"X-A": "2"}, expect="forbidden").failures == ()
    )
    assert run(route=text, headers={"X-A": "1"}, expect="forbidden").failures == ()


def test_trap_a_test_does_not_hold_by_a_header_that_is_always_dropped() -> None:
    """Policies never see identity headers of the client, so a test must not either."""
    text = route_text(
        authenticate="none", allow='[{when: \'request.headers["x-forwarded-user"] == "admin"\'}]'
    )
    assert run(route=text, headers={"X-Forwarded-User": "admin"}, expect="forbidden").failures == ()


def test_all_tests_of_all_files_are_collected_in_order() -> None:
    """Each with the place where it stands."""
    first, second = (
        {"request": f"GET {u}", "expect": "allow"} for u in ("https://a/1", "https://a/2")
    )
    files = [
        (PolicyDocument.model_validate({"tests": [t, t]}), Source(f"{i}"))
        for i, t in enumerate((first, second))
    ]
    cases = collect_cases(files)
    assert [(c.source.file, c.path) for c in cases] == [("0", ("tests", 0)), ("0", ("tests", 1)), ("1", ("tests", 0)), ("1", ("tests", 1))]  # fmt: skip


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
    exchange = exchange_for("GET", url, client="::ffff:10.0.0.1", headers=[("X-A", "é")], now=1.0)
    assert (exchange.raw_target, exchange.host_field, exchange.scheme) == (
        target,
        host,
        url.split(":", maxsplit=1)[0],
    )
    assert str(exchange.client) == "10.0.0.1"
    assert (exchange.client_text, exchange.chain) == ("10.0.0.1", ("10.0.0.1",))
    assert exchange.headers == {"x-a": "é"}


@given(st.text(max_size=30), st.text(max_size=10) | st.none(), st.text(max_size=5))
def test_any_url_is_an_exchange_or_a_url_error(url: str, client: str | None, name: str) -> None:
    """Nothing else is raised, whatever is typed."""
    try:
        exchange_for("GET", f"https://{url}", client=client, headers=[(name, url)], now=0.0)
        exchange_for("GET", url, client=client, headers=(), now=0.0)
    except URLError:
        return


def test_an_identity_is_of_the_routes_first_authenticator() -> None:
    """Where the test names none; its subject is also its `sub`."""
    wanted = CaseIdentity.model_validate({"subject": "a", "claims": {"x": 1}})
    identity = identity_of(wanted, ["tokens", "staff"])
    assert (identity.authenticator, identity.claims) == ("tokens", {"x": 1, "sub": "a"})
