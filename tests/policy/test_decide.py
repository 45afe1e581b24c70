"""The decision: default deny, deny before allow, and nothing that a client sends skips a step."""

from dataclasses import replace

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.identity import Identity
from authproxy.policy.condition import Entry, groups, when
from authproxy.policy.decide import (
    Trace,
    authorize,
    enforce,
    is_forwarded_preflight,
    judge,
    presenting,
    resolve,
)
from authproxy.policy.table import Route, Table
from tests.policy.reading import ALICE, parsed, request, route, route_text

PREFLIGHT = [(b"Origin", b"https://x.test"), (b"Access-Control-Request-Method", b"PUT")]


def table(*routes: Route) -> Table:
    made = Table()
    for one in routes:
        assert list(made.add(one)) == []
    return made


def verdict(made: Table, exchange: Exchange, identity: Identity | None = ALICE) -> str:
    exchange.identity = None
    return judge(made, exchange, presenting(identity)).code


def allowed(one: Route, identity: Identity | None = ALICE) -> bool:
    return authorize(one, request(identity)) is None


def test_one_entry_of_allow_must_hold() -> None:
    """In it every condition; none that holds is a refusal."""
    assert allowed(route(allow="[{groups: [ops]}, {groups: [eng], scopes: [read]}]"))
    assert not allowed(route(allow="[{groups: [ops]}, {groups: [eng], scopes: [write]}]"))


def test_authenticated_is_any_identity_and_somebody() -> None:
    """`allow: authenticated` refuses who was not identified."""
    assert allowed(route(), Identity("tokens", "anyone"))
    assert not allowed(route(), None)


def test_an_open_route_lets_anyone_pass_unless_it_says_whom() -> None:
    """`authenticate: none` alone is open; with entries one must hold."""
    assert allowed(route(authenticate="none", allow=""), None)
    assert not allowed(route(authenticate="none", allow="[{networks: [10.0.0.0/8]}]"), None)
    assert allowed(route(authenticate="none", allow="[{networks: [127.0.0.0/8]}]"), None)


def test_deny_refuses_whatever_allow_says() -> None:
    """One entry that holds is enough, and the reason names it."""
    denying = route("deny: [{groups: [x]}, {groups: [eng]}]")
    assert authorize(denying, request()) == "deny[1]"
    assert allowed(route("deny: [{groups: [eng], scopes: [write]}]"))


def test_an_error_fails_in_allow_and_holds_in_deny() -> None:
    """Reading what is missing never lets anybody pass."""
    assert not allowed(route(allow="[{when: claims.none == 1}]"))
    assert not allowed(route("deny: [{when: claims.none == 1}]"))
    assert not allowed(route(allow="[{when: claims.level}]"))
    assert not allowed(route("deny: [{when: claims.level}]"))
    assert allowed(route("deny: [{groups: [ops], when: claims.none == 1}]"))
    assert allowed(route("deny: [{when: has(claims.none) && claims.none == 1}]"))


def test_trap_an_entry_without_conditions_allows_nobody() -> None:
    """Should one ever be made: it fails in `allow` and holds in `deny`."""
    empty = Entry(())
    assert not allowed(Route("r", "u", authenticators=("tokens",), allow=(empty,)))
    assert not allowed(Route("r", "u", authenticators=("tokens",), deny=(empty,)))
    assert not allowed(Route("r", "u", authenticators=("tokens",), allow=()))


def test_the_trace_says_what_was_looked_at() -> None:
    """Each condition with its outcome, and no more than the decision needed."""
    trace = Trace()
    entries = (
        Entry((groups(["ops"]), when("true"))),
        Entry((when("claims.none == 1"),)),
        Entry((groups(["eng"]),)),
    )
    made = Route("r", "u", authenticators=("tokens",), allow=entries)
    assert authorize(made, request(), trace) is None
    found = [(s.place, s.outcome.holds, bool(s.outcome.error)) for s in trace.steps]
    assert found == [
        ("allow[0]", False, False),
        ("allow[1]", False, True),
        ("allow[2]", True, False),
    ]


def test_shadow_withholds_only_forbidden() -> None:
    """The refusal is noted in the exchange; what `enforce` says is refused."""
    exchange = request()
    enforce(route("mode: shadow", allow="[{groups: [ops]}]"), exchange)
    assert (exchange.shadow, exchange.reason) == ("forbidden", "no entry of allow holds")
    with pytest.raises(Refusal) as caught:
        enforce(route(allow="[{groups: [ops]}]"), request())
    assert caught.value.code == "forbidden"


def shadowed(more: str = "", **parts: str) -> tuple[str, str]:
    """What is noted of alice, whom such a route lets pass."""
    exchange = request()
    enforce(route(more, **parts), exchange)
    return exchange.shadow, exchange.reason


def test_an_entry_of_deny_in_shadow_refuses_nobody() -> None:
    """Whom it would refuse passes and is noted; whom it would not is not; an error in it holds, and is noted."""
    assert shadowed("deny: [{groups: [eng], mode: shadow}]") == ("forbidden", "deny[0]")
    assert shadowed("deny: [{groups: [ops], mode: shadow}]") == ("", "")
    assert shadowed("deny: [{when: claims.none == 1, mode: shadow}]") == ("forbidden", "deny[0]")


def test_an_entry_of_allow_in_shadow_lets_in_and_is_noted() -> None:
    """Who passes by it alone is noted, as whoever takes it away refuses them; who passes by another one is not."""
    only = "[{groups: [ops]}, {groups: [eng], mode: shadow}]"
    assert shadowed(allow=only) == ("forbidden", "only allow[1] holds")
    assert shadowed(allow="[{groups: [eng], mode: shadow}, {subjects: [alice]}]") == ("", "")


def test_entries_in_shadow_change_nothing_else() -> None:
    """The other entries refuse, and nothing is noted then: nothing was withheld."""
    shadow = "deny: [{groups: [eng], mode: shadow}, {subjects: [alice]}]"
    for one in (
        route(shadow),
        route("deny: [{groups: [eng], mode: shadow}]", allow="[{groups: [x]}]"),
    ):
        exchange = request()
        with pytest.raises(Refusal) as caught:
            enforce(one, exchange)
        assert (caught.value.code, exchange.shadow, exchange.reason) == ("forbidden", "", "")


def test_what_a_limit_withheld_and_an_entry_did_not_stays_noted() -> None:
    """A step before may have noted something of its own."""
    exchange = request(shadow="rate_limited")
    enforce(route("deny: [{groups: [ops], mode: shadow}]"), exchange)
    assert exchange.shadow == "rate_limited"


def test_shadow_still_authenticates() -> None:
    """Nobody passes a shadow route without an identity."""
    made = table(route("mode: shadow", allow="[{groups: [ops]}]"))
    assert verdict(made, request()) == "allow"
    assert verdict(made, request(), None) == "unauthenticated"


@pytest.mark.parametrize("method", ["TRACE", "CONNECT"])
def test_trace_and_connect_are_always_refused(method: str) -> None:
    """Whatever a route takes and however the target looks; with Allow, as a 405 has it."""
    with pytest.raises(Refusal) as caught:
        resolve(table(route()), request(method=method, raw_target="h.test:443"))
    assert caught.value.code == "method_not_allowed"
    assert [name for name, _ in caught.value.headers] == ["Allow"]


@pytest.mark.parametrize("target", ["/.authproxy/login", "/.authproxy", "/%2eauthproxy/userinfo"])
def test_our_own_prefix_is_never_forwarded(target: str) -> None:
    """Whatever a `/**` says."""
    made = table(Route("all", "u", paths=("/**",)))
    assert verdict(made, request(raw_target=target)) == "no_route"


@pytest.mark.parametrize(
    ("target", "host", "code"),
    [
        ("/a/b", "a.test", "allow"),
        ("/b", "a.test", "no_route"),
        ("/a/../a/b", "a.test", "bad_request"),
        ("/a//b", "a.test", "bad_request"),
        ("/a/b", "a test", "bad_request"),
        ("/a/b", "", "bad_request"),
    ],
)
def test_judge_reads_host_and_target_before_anybody_is_asked(
    target: str, host: str, code: str
) -> None:
    """A request that cannot be read is refused as such, without a word about credentials."""
    identity = ALICE if code == "allow" else None
    assert verdict(table(route()), request(raw_target=target, host_field=host), identity) == code


def test_an_identity_counts_only_for_its_authenticator() -> None:
    """What another authenticator verified is nothing to this route."""
    assert verdict(table(route()), request(), Identity("other", "alice")) == "token_invalid"


def test_cve_2021_32701_the_decision_is_made_for_every_request() -> None:
    """The same exchange with another identity is another decision."""
    made = table(route(allow="[{groups: [eng]}]"))
    exchange = request()
    assert verdict(made, exchange) == "allow"
    assert verdict(made, exchange, Identity("tokens", "alice")) == "forbidden"
    assert verdict(made, exchange, None) == "unauthenticated"


@pytest.mark.parametrize(
    "line",
    [
        (b"X-Original-URL", b"/open"), (b"X-Forwarded-Uri", b"/open"), (b"X-Rewrite-URL", b"/open"),
        (b"User-Agent", b"GoogleHC/1.0"), (b"X-HTTP-Method-Override", b"OPTIONS"), (b"X-Middleware-Subrequest", b"1"),
    ],
)  # fmt: skip
def test_cve_2023_27487_no_header_skips_a_step(line: tuple[bytes, bytes]) -> None:
    """Also CVE-2026-40575, CVE-2026-34457, CVE-2025-29927: the target and the method are those of the request line."""
    made = table(route("cors_preflight: forward"), Route("open", "u", paths=("/open",)))
    assert verdict(made, request(lines=[line]), None) == "unauthenticated"


@pytest.mark.parametrize("method", ["OPTIONS", "HEAD", "FOO", "get"])
def test_no_method_passes_without_identity(method: str) -> None:
    """OPTIONS, HEAD and unknown methods are authenticated like all others."""
    assert (
        verdict(table(route()), request(method=method, lines=PREFLIGHT), None) == "unauthenticated"
    )


def test_a_preflight_passes_only_where_the_route_forwards_it() -> None:
    """OPTIONS with Origin and Access-Control-Request-Method, all three."""
    forwarding = route("cors_preflight: forward")
    assert is_forwarded_preflight(forwarding, request(method="OPTIONS", lines=PREFLIGHT))
    assert not is_forwarded_preflight(route(), request(method="OPTIONS", lines=PREFLIGHT))
    assert not is_forwarded_preflight(forwarding, request(method="GET", lines=PREFLIGHT))
    assert not is_forwarded_preflight(forwarding, request(method="OPTIONS", lines=PREFLIGHT[:1]))
    body = request(method="OPTIONS", lines=PREFLIGHT, content_length=1)
    assert not is_forwarded_preflight(forwarding, body)  # no browser sends one
    assert verdict(table(forwarding), request(method="OPTIONS", lines=PREFLIGHT), None) == "allow"


def test_the_verdict_names_the_route_and_the_reason() -> None:
    """What `explain` and `policy test` show comes from the same decision."""
    policies = parsed(route_text(allow="[{groups: [ops]}]"))
    found = judge(policies.table, request(), presenting(ALICE))
    assert found.route is policies.table.routes[0]
    assert (found.code, found.reason) == ("forbidden", "no entry of allow holds")


@pytest.mark.parametrize(
    ("amr", "enough"),
    [
        (["pwd", "otp"], True), (["mfa"], True), (["pin", "hwk"], True), (["face", "sc"], True), (["pwd", "mfa"], True),
        (["pwd"], False), (["otp"], False), (["pwd", "pin"], False), (["otp", "sms"], False), ([], False), ("mfa", False),
        (None, False), ([["pwd"], {"otp": 1}], False), (["PWD", "OTP"], False), (True, False),
    ],
)  # fmt: skip
def test_a_second_factor_is_of_another_kind(amr: object, enough: bool) -> None:
    """Two that somebody knows are one factor; what is not a list of RFC 8176's words is none. Deny and allow stay what they are."""
    who = replace(ALICE, claims={**ALICE.claims, "amr": amr})
    one = route("deny: [{groups: [out]}], second_factor: true", allow="[{groups: [eng]}]")
    trace = Trace()
    assert authorize(one, request(who), trace) == (None if enough else "second_factor")
    assert (trace.steps[-1].place == "second_factor") is not enough
    assert authorize(one, request(replace(who, groups=("eng", "out")))) == "deny[0]"
    assert authorize(one, request(replace(who, groups=()))) is not None


def test_in_shadow_a_second_factor_is_only_noted() -> None:
    """As every other `forbidden` is."""
    exchange = request(ALICE)
    enforce(route("second_factor: true, mode: shadow"), exchange)
    assert (exchange.shadow, exchange.reason) == ("forbidden", "second_factor")
