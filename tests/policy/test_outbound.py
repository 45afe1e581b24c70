"""The head for the backend: everything of the client's that we say is gone before we say it."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.headers import HeaderRules, IdentityProfile, Kind
from authproxy.model.identity import Identity
from authproxy.policy.outbound import Outbound
from authproxy.policy.table import Route
from tests.policy.reading import ALICE, parsed, request, route, route_text

PLAIN = Route("r", "u", paths=("/**",))
RULES = HeaderRules()


def outbound(made: Route = PLAIN, **parts: Any) -> Outbound:
    return Outbound(made, **{"host": None, "own_cookies": ["__Host-authproxy"], **parts})


def sent(exchange: Exchange, made: Outbound) -> list[tuple[bytes, bytes]]:
    """The fields of the head; it must be whole lines."""
    start, *lines, last, empty = made.head(exchange).split(b"\r\n")
    assert (last, empty, start.count(b" ")) == (b"", b"", 2)
    return [(name, value) for name, _, value in (line.partition(b": ") for line in lines)]


def values(exchange: Exchange, name: bytes, made: Outbound | None = None) -> list[bytes]:
    return [v for n, v in sent(exchange, made or outbound()) if n.lower() == name.lower()]


def test_the_request_line_is_the_clients_own() -> None:
    """The backend gets the client's bytes, not what policies saw."""
    head = outbound().head(request(target="/%61%20b/?q=%2F"))
    assert head.startswith(b"GET /%61%20b/?q=%2F HTTP/1.1\r\nHost: a.test\r\n")


def test_a_prefix_is_stripped() -> None:
    """By segments, the query kept."""
    head = outbound(route("rewrite: {strip_prefix: /a}")).head(request(target="/%61/b?q"))
    assert head.startswith(b"GET /b?q HTTP/1.1\r\n")


def test_the_host_is_the_clients_or_as_configured() -> None:
    """One Host either way."""
    assert values(request(host_field="A.test:8443"), b"host") == [b"A.test:8443"]
    assert values(request(), b"host", outbound(host=b"inner:1")) == [b"inner:1"]


@pytest.mark.parametrize(
    ("parts", "name", "value"),
    [
        ({"chunked": True}, b"Transfer-Encoding", [b"chunked"]),
        ({"content_length": 7}, b"Content-Length", [b"7"]),
        ({"content_length": 0}, b"Content-Length", [b"0"]),
        ({}, b"Content-Length", []),
        ({"chunked": True}, b"Content-Length", []),
    ],
)
def test_a_body_is_framed_in_one_way(
    parts: dict[str, Any], name: bytes, value: list[bytes]
) -> None:
    """Chunked or a length, never both, and neither where there is no body."""
    assert values(request(**parts), name) == value


def test_the_way_is_told() -> None:
    """The verified chain and the peer, scheme and host, Forwarded and Via, request id and trace."""
    chain = ("5.5.5.5", "2001:db8::1")
    exchange = request(
        chain=chain, scheme="https", request_id="r-1", traceparent="00-t", tracestate="a=b"
    )
    found = dict(sent(exchange, outbound()))
    assert found[b"X-Forwarded-For"] == b"5.5.5.5, 2001:db8::1"
    assert (found[b"X-Forwarded-Proto"], found[b"X-Forwarded-Host"]) == (b"https", b"a.test")
    assert found[b"Forwarded"] == b'for=5.5.5.5, for="[2001:db8::1]";host="a.test";proto=https'
    assert found[b"Via"] == b"1.1 authproxy"
    assert (found[b"X-Request-Id"], found[b"traceparent"], found[b"tracestate"]) == (b"r-1", b"00-t", b"a=b")  # fmt: skip


def test_the_identity_is_told_as_it_was_rendered() -> None:
    """Once, and only where there is one."""
    block = b"X-Forwarded-User: alice\r\n"
    known = Identity("tokens", "alice", header_block=block)
    assert values(request(known), b"x-forwarded-user") == [b"alice"]
    assert values(request(None), b"x-forwarded-user") == []


def test_an_identity_that_is_too_large_is_forbidden() -> None:
    """No group is cut off: that could be the one a backend denies by."""
    with pytest.raises(Refusal) as caught:
        outbound().head(request(Identity("tokens", "alice", header_block=None)))
    assert (caught.value.code, caught.value.reason) == ("forbidden", "identity_too_large")


def test_the_assertion_is_made_for_each_request() -> None:
    """It has an age, so it is asked for at the request's own moment, also on a connection that repeats its fields."""
    asked: list[float] = []

    def assertion(_identity: Identity, now: float) -> bytes:
        asked.append(now)
        return b"X-Authproxy-Assertion: a\r\n"

    made, exchange = outbound(assertion=assertion), request()
    for moment in (1.0, 2.0):
        exchange.now = moment
        assert values(exchange, b"x-authproxy-assertion", made) == [b"a"]
    assert asked == [1.0, 2.0]
    assert values(request(None), b"x-authproxy-assertion", made) == []
    assert asked == [1.0, 2.0]


def test_an_assertion_that_is_too_large_is_forbidden() -> None:
    """As identity headers are."""
    with pytest.raises(Refusal) as caught:
        outbound(assertion=lambda _identity, _now: None).head(request())
    assert (caught.value.code, caught.value.reason) == ("forbidden", "identity_too_large")


def test_the_credential_stays_here() -> None:
    """The slots that the route's authenticators read, unless it says otherwise; other fields pass."""
    exchange = request(lines=[(b"X-Token", b"t"), (b"x.token", b"t"), (b"Accept", b"*/*")], authorization=b"Bearer t", cookies=[b"tok=t; a=1"])  # fmt: skip
    slots: dict[str, Any] = {
        "credential_headers": ["Authorization", "X-Token"],
        "credential_cookies": ["tok"],
    }
    kept_back = outbound(**slots).lines(exchange)
    assert kept_back == [(b"Accept", b"*/*"), (b"Cookie", b"a=1")]
    forwarding = outbound(route("forward_authorization: true"), **slots).lines(exchange)
    assert [n for n, _ in forwarding] == [
        b"X-Token",
        b"x.token",
        b"Accept",
        b"Cookie",
        b"Authorization",
    ]


def test_authorization_that_nobody_reads_passes() -> None:
    """A route that does not read it has no claim on it."""
    assert values(request(None, authorization=b"Basic x"), b"authorization") == [b"Basic x"]


def test_our_session_cookie_never_leaves() -> None:
    """All copies of it in all Cookie fields, also with `forward_authorization`."""
    exchange = request(cookies=[b"__Host-authproxy=s; a=1", b"__Host-authproxy=t", b"b=2"])
    made = outbound(route("forward_authorization: true"))
    assert values(exchange, b"cookie", made) == [b"a=1", b"b=2"]


def test_headers_are_removed_in_every_spelling_and_set() -> None:
    """What is set replaces the client's; what has no text is removed only."""
    made = route(
        "headers: {remove: [X-Debug], set: {X-Tenant: claims.tenant, X-Level: string(claims.level)}}"
    )
    lines = [
        (b"x-debug", b"1"),
        (b"X.Debug", b"1"),
        (b"X-Tenant", b"evil"),
        (b"x.level", b"evil"),
        (b"X-Other", b"o"),
    ]
    found = sent(request(lines=lines), outbound(made))
    assert [(n, v) for n, v in found if n.lower().startswith(b"x-") and b"Forwarded" not in n and n != b"X-Request-Id"] == [(b"X-Other", b"o"), (b"X-Level", b"3")]  # fmt: skip


@pytest.mark.parametrize(
    "value",
    ["a\r\nX-Forwarded-User: evil", "a\nb", "a\x00", "\x7f", "", "\ud800", "a\x85b", " acme", "acme\t"],
)  # fmt: skip
def test_a_value_that_would_be_another_is_never_set(value: str) -> None:
    """A claim must not end the field it is in, nor be read there as another than policies saw (` acme` as `acme`)."""
    made = outbound(route("headers: {set: {X-Tenant: claims.tenant}}"))
    exchange = request(Identity("tokens", "alice", claims={"tenant": value}))
    assert values(exchange, b"x-tenant", made) == []


def test_a_value_in_any_script_is_utf_8() -> None:
    """Fields carry bytes over 0x7f as they are."""
    made = outbound(route("headers: {set: {X-Tenant: claims.tenant}}"))
    exchange = request(Identity("tokens", "alice", claims={"tenant": "Bücher"}))
    assert values(exchange, b"x-tenant", made) == ["Bücher".encode()]


@pytest.mark.parametrize(
    ("match", "passes"),
    [("paths: [/a/**]", True), ("paths: [/a/**], methods: [POST]", False)],
)
def test_facts_34_no_other_method_than_the_one_that_was_judged(match: str, passes: bool) -> None:
    """Where a route is for some methods, the backend is not told of another; elsewhere the field is its own business."""
    text = route_text().replace("paths: [/a/**]", match)
    lines = [(b"X.HTTP.Method.Override", b"DELETE"), (b"X-Note", b"n")]
    exchange = request(method="POST", lines=lines, overrides_method=True)
    found = sent(exchange, outbound(parsed(text).table.routes[0]))
    assert ((b"X.HTTP.Method.Override", b"DELETE") in found) is passes
    assert (b"X-Note", b"n") in found


def test_a_websocket_asks_for_its_upgrade() -> None:
    """Connection and Upgrade are ours alone."""
    head = outbound().head(request(), websocket=True)
    assert head.count(b"Connection: Upgrade\r\nUpgrade: websocket\r\n") == 1


FIELDS = st.tuples(
    st.sampled_from([b"X-Forwarded-User", b"x_forwarded_user", b"X.Forwarded.User", b"X-FORWARDED-Groups", b"Remote-User", b"Accept", b"Connection", b"TE", b"Host", b"Forwarded", b"X-Forwarded-For", b"Via"]),
    st.sampled_from([b"evil", b"", b"evil, evil", b"X-Forwarded-User"]),
)  # fmt: skip


@given(st.lists(FIELDS, max_size=8), st.booleans())
def test_trap_duplicate_identity_header_there_is_one_and_it_is_ours(
    fields: list[tuple[bytes, bytes]], known: bool
) -> None:
    """Whatever a client sends, in whatever spelling and order, the backend sees our value once or none."""
    block = IdentityProfile("forwarded").render(ALICE)
    identity = Identity("tokens", "alice", header_block=block) if known else None
    lines = [line for line in fields if RULES.kind(line[0]) is Kind.PASS]
    found = sent(request(identity, lines=lines), outbound())
    names = [name.lower().replace(b"_", b"-").replace(b".", b"-") for name, _ in found]
    assert names.count(b"x-forwarded-user") == known
    assert b"remote-user" not in names
    assert [names.count(n) for n in (b"host", b"forwarded", b"x-forwarded-for")] == [1, 1, 1]
    assert {b"te", b"connection"}.isdisjoint(names)
