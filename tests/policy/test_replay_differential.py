"""Replay beside the decision itself, for policies, callers and requests by chance: it agrees, or says what is missing."""

import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.identity import Identity
from authproxy.policy.replay import Replay
from authproxy.policy.table import Table
from tests.policy.test_replay import SLOTS, decided, recorded, table

CONDITIONS = [
    "groups: [eng]", "groups: [ops]", "scopes: [read]", "subjects: [alice]", "networks: [127.0.0.0/8]",
    "claims: {tenant: acme}", "claims: {realm.roles: admin}", "when: claims.level >= 3", "when: 'identity.email == \"a@x\"'",
    "when: 'request.headers[\"x-a\"] == \"1\"'", "when: 'has(claims.realm.roles)'", "when: 'claims.size() > 2'",
    "when: '\"x-a\" in request.headers'",
]  # fmt: skip
ENTRIES = st.lists(
    st.sampled_from(CONDITIONS), min_size=1, max_size=2, unique_by=lambda c: c.partition(":")[0]
)
LISTS = st.lists(ENTRIES.map(lambda parts: "{" + ", ".join(parts) + "}"), min_size=1, max_size=2)
ROUTES = st.builds(
    lambda authenticate, allow, deny: f"authenticate: [{authenticate}], allow: [{', '.join(allow)}]" + (f", deny: [{', '.join(deny)}]" if deny else ""),
    st.sampled_from(["tokens", "staff", "tokens, staff", "staff, tokens"]), LISTS, st.one_of(st.just([]), LISTS),
) | st.just("authenticate: none")  # fmt: skip
TABLES = st.tuples(ROUTES, ROUTES).map(lambda pair: table(f"/a/**: {pair[0]}", f"/b: {pair[1]}"))
CLAIMS = st.sampled_from([{}, {"tenant": "acme"}, {"level": 3, "tenant": "b"}, {"realm": {"roles": ["admin"]}, "x": 1, "y": 2}, {"realm.roles": "admin"}])  # fmt: skip
CALLERS = st.none() | st.builds(
    lambda one, subject, groups, claims, email: Identity(one, subject, groups, frozenset({"read"}), email, claims=claims),
    st.sampled_from(["tokens", "staff"]), st.sampled_from(["alice", "bob"]), st.sampled_from([(), ("eng",), ("ops", "x")]),
    CLAIMS, st.sampled_from([None, "a@x"]),
)  # fmt: skip


@settings(max_examples=150)
@given(
    TABLES,
    TABLES,
    CALLERS,
    st.sampled_from(["/a", "/a/x%20y", "/b", "/c"]),
    st.sampled_from([(), (("X-A", "1"),)]),
)
def test_replay_agrees_with_the_decision_or_says_what_is_missing(
    old: Table, new: Table, caller: Identity | None, target: str, headers: Any
) -> None:
    """For any two sets of policies and any caller: a verdict is the one that the server would come to, and never a guess."""
    carried = {
        None: (),
        "tokens": (("Authorization", "Bearer x"),),
        "staff": (("Cookie", "__Host-authproxy=x"),),
    }
    fields = (*headers, *carried[caller.authenticator if caller is not None else None])
    record = recorded(old, target, caller, fields)
    exchange, code = decided(new, target, caller, fields)
    found = Replay(new, SLOTS).decide(record)
    if found.unknown:
        assert record.exchange.target is not None
        return
    assert (found.code, found.route) == (
        code,
        exchange.route.name if exchange.route is not None else "",
    )


def drawn_route(draw: random.Random) -> str:
    """A route by chance, as text."""
    if draw.random() < 0.15:
        return "authenticate: none"
    lists = [
        "[" + ", ".join(f"{{{draw.choice(CONDITIONS)}}}" for _ in range(draw.randint(1, 3))) + "]" for _ in range(2)
    ]  # fmt: skip
    asked = draw.choice(["tokens", "staff", "tokens, staff", "staff, tokens"])
    mode = draw.choice(["enforce", "enforce", "shadow"])
    deny = f", deny: {lists[1]}" if draw.random() < 0.5 else ""
    return f"authenticate: [{asked}], allow: {lists[0]}, mode: {mode}{deny}"


@pytest.mark.slow
def test_a_hundred_thousand_replays() -> None:
    """The promise above, for 500 pairs of policies and 200 requests each; most of them are decided."""
    draw, decisions, undecidable = random.Random(7), 0, 0
    claims: list[dict[str, Any]] = [
        {},
        {"tenant": "acme"},
        {"level": 3, "tenant": "b"},
        {"realm": {"roles": ["admin"]}, "x": 1, "y": 2},
    ]
    carried = {
        "": (),
        "tokens": (("Authorization", "Bearer x"),),
        "staff": (("Cookie", "__Host-authproxy=x"),),
    }
    for _ in range(500):
        old, new = (
            table(f"/a/**: {drawn_route(draw)}", f"/b: {drawn_route(draw)}") for _ in range(2)
        )
        replay = Replay(new, SLOTS)
        for _ in range(200):
            one = draw.choice(["", "tokens", "staff"])
            groups = draw.choice([(), ("eng",), ("ops", "x")])
            email, subject = draw.choice([None, "a@x"]), draw.choice(["alice", "bob"])
            caller = (
                Identity(
                    one, subject, groups, frozenset({"read"}), email, claims=draw.choice(claims)
                )
                if one
                else None
            )
            fields = (*draw.choice([(), (("X-A", "1"),)]), *carried[one])
            target = draw.choice(["/a", "/a/x%20y", "/b", "/c"])
            record = recorded(old, target, caller, fields)
            exchange, code = decided(new, target, caller, fields)
            found, decisions = replay.decide(record), decisions + 1
            if found.unknown:
                undecidable += 1
                continue
            shadow = exchange.shadow if code == "allow" else ""
            route = exchange.route.name if exchange.route is not None else ""
            assert (found.code, found.route) == (code, route)
            assert found.doubt or found.shadow == shadow
    assert decisions == 100_000
    assert undecidable < decisions / 2
