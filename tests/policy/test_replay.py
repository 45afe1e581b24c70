"""Replay: what was recorded comes to what the server would decide, and what was not recorded is never guessed."""

import json
from itertools import product
from typing import Any

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import read_fields
from authproxy.model.headers import HeaderRules
from authproxy.model.identity import Identity
from authproxy.policy.changes import Tally
from authproxy.policy.decide import judge
from authproxy.policy.record import Recorder, reads_of, written
from authproxy.policy.recorded import Recorded, replayed
from authproxy.policy.replay import KEPT_LONGEST, Outcome, Replay
from authproxy.policy.table import Route, Table
from tests.policy.reading import codes, parsed

BEARER, COOKIE, KEY = "scheme:bearer", "cookie:__Host-authproxy", "header:x-key"
SLOTS = {"tokens": frozenset({BEARER}), "staff": frozenset({COOKIE})}
ALICE = Identity(
    "tokens", "alice", ("eng",), frozenset({"read"}), claims={"tenant": "acme", "level": 3}
)


def table(*routes: str) -> Table:
    """The table of these routes, each `path: further keys`."""
    lines = []
    for number, text in enumerate(routes):
        path, _, more = text.partition(": ")
        lines.append(
            f"- {{name: r{number}, match: {{paths: ['{path}']}}, upstream: orders, {more}}}"
        )
    policies = parsed("routes:\n" + "\n".join(lines))
    assert codes(policies) == []
    return policies.table


def decided(
    made: Table,
    target: str = "/a",
    identity: Identity | None = ALICE,
    headers: Any = (),
    method: str = "GET",
) -> tuple[Exchange, str]:
    """The exchange of a request as the server leaves it, and its code."""
    exchange = Exchange("id", 1_800_000_000.0, 0.0)
    exchange.method, exchange.host_field, exchange.raw_target = method, "a.test", target
    exchange.fields = read_fields(((n.encode(), v.encode()) for n, v in headers), HeaderRules())

    def identify(route: Route, _exchange: Exchange) -> Identity:
        if identity is None or identity.authenticator not in route.authenticators:
            raise Refusal("unauthenticated")  # nobody reads the place where its credential is
        return identity

    found = judge(made, exchange, identify)
    exchange.admitted = found.code == "allow"
    if not exchange.admitted:
        exchange.code, exchange.reason = found.code, found.reason
    return exchange, found.code


def recorded(made: Table, *args: Any, **more: Any) -> Recorded:
    """That request's record, through JSON."""
    exchange, _ = decided(made, *args, **more)
    record = Recorder(reads_of(made), "d", sorted(frozenset().union(*SLOTS.values()))).recorded(
        exchange
    )
    found = replayed(json.loads(json.dumps(record)))
    assert found is not None
    return found


def outcome(record: Recorded, *routes: str) -> Outcome:
    """What it comes to under these routes."""
    return Replay(table(*routes), SLOTS).decide(record)


TOKENS = "authenticate: [tokens], allow: "
ALL = f"/a: {TOKENS}authenticated"


def test_a_change_of_groups() -> None:
    """The groups of the caller are recorded whole, so other groups can be asked for."""
    record = recorded(table(f"/a: {TOKENS}[{{groups: [ops]}}]"))
    assert (record.code, record.reason) == ("forbidden", "no entry of allow holds")
    assert outcome(record, f"/a: {TOKENS}[{{groups: [eng]}}]").code == "allow"
    found = outcome(record, f"/a: {TOKENS}[{{groups: [x]}}]")
    assert (found.code, found.route, found.reason) == ("forbidden", "r0", "no entry of allow holds")


def test_routes_that_go_and_come() -> None:
    """No route, another method, another route."""
    record = recorded(table(ALL))
    assert outcome(record, f"/b: {TOKENS}authenticated").code == "no_route"
    assert outcome(record, f"/b: {TOKENS}authenticated", ALL).route == "r1"


def test_shadow_is_told() -> None:
    """What the new policies withhold is an allow, with the code that is withheld."""
    found = outcome(recorded(table(ALL)), f"/a: {TOKENS}[{{subjects: [x]}}], mode: shadow")
    assert (found.code, found.shadow) == ("allow", "forbidden")
    shadowed = recorded(table(f"/a: {TOKENS}[{{subjects: [x]}}], mode: shadow"))
    assert (shadowed.code, shadowed.shadow) == ("allow", "forbidden")
    assert outcome(shadowed, f"/a: {TOKENS}[{{subjects: [x]}}]").code == "forbidden"


@pytest.mark.parametrize(
    ("allow", "missing"),
    [
        ("[{groups: [eng]}]", "groups was not recorded"),
        ("[{claims: {tenant: acme}}]", "claims.tenant was not recorded"),
        ("[{when: 'claims.size() > 0'}]", "claims was not recorded"),
        ('[{when: \'request.headers["x-a"] == "1"\'}]', 'request.headers["x-a"] was not recorded'),
    ],
)
def test_what_was_not_recorded_is_not_guessed(allow: str, missing: str) -> None:
    """A new policy that reads something else cannot be decided, and it is said what is missing."""
    found = outcome(recorded(table(ALL)), f"/a: {TOKENS}{allow}")
    assert (found.route, found.unknown) == ("r0", missing)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ("allow: [{groups: [eng]}, {subjects: [alice]}]", "allow"),
        ("allow: [{subjects: [alice]}, {groups: [eng]}]", "allow"),
        ("allow: [{groups: [eng], subjects: [bob]}]", "forbidden"),
        ("allow: authenticated, deny: [{subjects: [alice]}, {groups: [x]}]", "forbidden"),
        ("allow: [{subjects: [bob]}], deny: [{groups: [x]}]", "forbidden"),
        ("allow: authenticated, deny: [{groups: [x], subjects: [bob]}]", "allow"),
        ("allow: authenticated, deny: [{groups: [x], mode: shadow}]", "allow"),
    ],
)
def test_what_is_missing_but_decides_nothing(more: str, code: str) -> None:
    """Where the outcome is the same whatever is missing, it is decided."""
    found = outcome(recorded(table(ALL)), f"/a: authenticate: [tokens], {more}")
    assert (found.code, found.unknown) == (code, "")


def test_what_shadow_mode_withholds_is_not_guessed() -> None:
    """Where it passes both ways, but one of them only by shadow mode, that is said, and counted as nothing else."""
    record, tally = recorded(table(f"/a: {TOKENS}[{{scopes: [read]}}]")), Tally()
    found = outcome(record, f"/a: {TOKENS}[{{groups: [ops]}}], mode: shadow")
    assert (found.code, found.shadow, found.unknown, found.doubt) == ("allow", "", "", "groups was not recorded")  # fmt: skip
    known = outcome(record, f"/a: {TOKENS}[{{scopes: [write]}}], mode: shadow")
    assert (known.code, known.shadow, known.unknown, known.doubt) == ("allow", "forbidden", "", "")
    for one in (found, known):
        assert tally.note(record, Outcome("allow", "r0"), one) is None
    assert (tally.withheld, tally.doubtful, tally.unchanged) == ({"r0": 1}, {"r0": 1}, 2)


def test_a_second_factor_needs_how_somebody_logged_in() -> None:
    """`amr` was not recorded where no policy asked for it; then it was."""
    second = f"/a: {TOKENS}authenticated, second_factor: true"
    assert outcome(recorded(table(ALL)), second).unknown == "claims.amr was not recorded"
    found = outcome(
        recorded(table(second), "/a", Identity("tokens", "a", claims={"amr": ["pwd"]})), ALL
    )
    assert found.code == "allow"


def test_a_withheld_secret_is_not_guessed() -> None:
    """A header that was kept back cannot be decided by, and it is said why."""
    made = table(f'/a: {TOKENS}[{{when: \'request.headers["x-api-key"] == "k"\'}}]')
    record = recorded(made, headers=[("X-Api-Key", "k")])
    assert record.code == "allow"
    found = Replay(made, SLOTS).decide(record)
    assert found.unknown == 'request.headers["x-api-key"] is kept back'


def test_open_to_protected() -> None:
    """Who carried nothing is `unauthenticated`; who carried what nobody verified, nobody can tell."""
    open_route = table("/a: authenticate: none")
    assert outcome(recorded(open_route, "/a", None), ALL).code == "unauthenticated"
    carried = recorded(open_route, "/a", None, headers=[("Authorization", "Bearer x")])
    assert outcome(carried, ALL).unknown == "nobody verified the credential that it carried"
    assert (
        outcome(carried, "/a: authenticate: [staff], allow: authenticated").code
        == "unauthenticated"
    )


def test_protected_to_open() -> None:
    """Whatever was presented, an open route does not look at it."""
    for identity in (ALICE, None):
        assert (
            outcome(recorded(table(ALL), "/a", identity), "/a: authenticate: none").code == "allow"
        )


def test_refused_credentials_stay_refused_where_the_same_are_asked() -> None:
    """And cannot be decided where others are: they were not judged by those."""
    record = recorded(table(ALL), "/a", None, headers=[("Authorization", "Bearer x")])
    record.code = "token_expired"
    assert outcome(record, f"/a: {TOKENS}[{{groups: [x]}}]").code == "token_expired"
    both = "/a: authenticate: [tokens, staff], allow: authenticated"
    assert outcome(record, both).unknown == "nobody verified the credential that it carried"


def test_another_authenticator_may_have_come_first() -> None:
    """One that is asked before, and whose place held something else, may have taken the request."""
    both = "/a: authenticate: [staff, tokens], allow: authenticated"
    assert outcome(recorded(table(ALL)), both).code == "allow"
    cookie = recorded(table(ALL), headers=[("Cookie", "__Host-authproxy=x")])
    assert "`staff` would have taken another credential" in outcome(cookie, both).unknown
    assert (
        outcome(cookie, "/a: authenticate: [tokens, staff], allow: authenticated").code == "allow"
    )
    asked = recorded(table(both), headers=[("Cookie", "__Host-authproxy=x")])
    assert outcome(asked, both.replace("authenticated", "[{subjects: [bob]}]")).code == "forbidden"


def test_an_authenticator_that_is_asked_no_more() -> None:
    """Its credential means nothing to the others; in a place of theirs it is taken by nobody."""
    staff = "/a: authenticate: [staff], allow: authenticated"
    token = [("Authorization", "Bearer x")]
    assert outcome(recorded(table(ALL), headers=token), staff).code == "unauthenticated"
    slots = {"tokens": frozenset({BEARER}), "staff": frozenset({BEARER})}
    found = Replay(table(staff), slots).decide(recorded(table(ALL), headers=token))
    assert (found.code, found.reason) == ("token_invalid", "authenticator")
    slots["staff"] = frozenset({"certificate:cn"})
    found = Replay(table(staff), slots).decide(recorded(table(ALL), headers=token))
    assert found.unknown == "whether a credential was presented was not recorded (certificate:cn)"


@pytest.mark.parametrize("code", ["rate_limited", "state_unavailable", "overloaded", "client_gone"])
def test_what_no_policy_decides_is_left(code: str) -> None:
    """A limit's refusal stays one, unless no route is found any more."""
    record = recorded(table(ALL))
    record.code = code
    found = outcome(record, f"/a: {TOKENS}[{{groups: [x]}}]")
    assert (found.code, found.left) == (code, True)
    assert outcome(record, f"/b: {TOKENS}authenticated").code == "no_route"


def test_an_identity_too_large_stays_too_large() -> None:
    """What the backend would be told is no policy's matter; where nobody is asked there is no identity."""
    record = recorded(table(ALL))
    record.code, record.reason = "forbidden", "identity_too_large"
    assert outcome(record, ALL).left
    assert outcome(record, "/a: authenticate: none").code == "allow"


def test_a_session_that_another_site_used_stays_refused() -> None:
    """`cross_site` is said of a session that is good, whatever the policy says then."""
    record = recorded(table(ALL))
    record.code = "cross_site"
    assert outcome(record, ALL.replace("authenticated", "[{groups: [x]}]")).code == "cross_site"


def test_preflights() -> None:
    """Where a route forwards them, what was recorded of them counts."""
    forwarding = f"/a: {TOKENS}authenticated, cors_preflight: forward"
    asks = [("Origin", "https://x.test"), ("Access-Control-Request-Method", "PUT")]
    preflight = recorded(table(forwarding), "/a", None, headers=asks, method="OPTIONS")
    assert (preflight.code, preflight.preflight) == ("allow", True)
    assert outcome(preflight, ALL).code == "unauthenticated"
    assert (
        outcome(recorded(table(ALL), "/a", None, headers=asks, method="OPTIONS"), forwarding).code
        == "allow"
    )
    plain = recorded(table(ALL), "/a", None, method="OPTIONS")
    assert outcome(plain, forwarding).code == "unauthenticated"


def test_the_raw_path_decides() -> None:
    """A slash that was encoded is one for routes that forward it, and a refusal for the others."""
    made = table(f"/a/*: {TOKENS}authenticated, encoded_slash: forward")
    record = recorded(made, "/a/b%2Fc")
    assert (record.code, record.route) == ("allow", "r0")
    assert outcome(record, f"/a/*: {TOKENS}authenticated").code == "bad_request"
    assert Replay(made, SLOTS).decide(record).code == "allow"


def line(**more: Any) -> Recorded:
    """A line of the access log."""
    found = replayed({
        "time": written(1.0), "request_id": "i", "client": "192.0.2.1", "method": "GET", "host": "a.test", "path": "/a",
        "status": 200, "route": "r0", "subject": "alice", "authenticator": "tokens", "decision": "allow", "code": None,
        "reason": None, "shadow": None, **more,
    })  # fmt: skip
    assert found is not None
    return found


def test_a_line_of_the_access_log_says_less() -> None:
    """Subjects, networks and routes can be decided by; groups, claims, headers and refused credentials cannot."""
    assert (
        outcome(line(), f"/a: {TOKENS}[{{subjects: [alice], networks: [192.0.2.0/24]}}]").code
        == "allow"
    )
    assert outcome(line(), f"/a: {TOKENS}[{{groups: [eng]}}]").unknown == "groups was not recorded"
    assert outcome(line(), "/b: authenticate: none").code == "no_route"
    refused = line(subject=None, authenticator=None, decision="refuse", code="unauthenticated")
    assert outcome(refused, ALL).unknown.startswith(
        "whether a credential was presented was not recorded"
    )
    encoded = "how the path was encoded was not recorded"
    assert outcome(line(), f"/a: {TOKENS}authenticated, encoded_slash: forward").unknown == encoded
    bad = line(
        subject=None,
        authenticator=None,
        route=None,
        decision="refuse",
        code="bad_request",
        path="/a/b",
    )
    assert outcome(bad, ALL).unknown == encoded
    options = outcome(line(method="OPTIONS"), f"/a: {TOKENS}authenticated, cors_preflight: forward")
    assert options.unknown == "whether it was a preflight was not recorded"


def test_nothing_changes_under_the_same_policies() -> None:
    """Whatever was recorded under policies is decided by them, to the same end."""
    made = table(
        f"/a/**: {TOKENS}[{{groups: [ops]}}, {{claims: {{tenant: acme}}}}]",
        "/b: authenticate: none",
    )
    for target, caller in product(("/a", "/b", "/c"), (ALICE, None, Identity("tokens", "bob"))):
        record = recorded(made, target, caller)
        found, before = Replay(made, SLOTS).decide(record), Replay(made, SLOTS).before(record)
        assert (found.code, found.route) == (before.code, before.route)


def test_what_was_recorded_at_great_length_is_decided_and_not_kept() -> None:
    """Records of any kind and length take no more than so much memory."""
    replay = Replay(table("/a: authenticate: [tokens], allow: [{groups: [eng]}]"), SLOTS)
    many = [f"claims.{number}" for number in range(KEPT_LONGEST)]
    for reads in (["groups"], ["groups", *many], ["groups", "claims." + "x" * KEPT_LONGEST]):
        record = line(path="/a", asked=["tokens"], groups=["eng"], reads=reads)
        assert replay.decide(record).code == "allow"
    assert len(replay._ways) == 1
