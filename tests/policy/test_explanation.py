"""A decision as a tree: candidates with their reasons, entries with their outcomes, and never another verdict."""

import json
import random
from typing import Any

import pytest

from authproxy.model.identity import Identity
from authproxy.policy.decide import Trace, judge, presenting
from authproxy.policy.explanation import CANDIDATES_MOST, explain
from authproxy.policy.parse import Policies
from tests.policy.reading import ALICE, parsed, request, route_text

ASKED = "upstream: orders, authenticate: [tokens], allow: authenticated"


def explained(policies: Policies, who: Identity | None = ALICE, target: str = "/a/b", **parts: Any) -> dict[str, Any]:  # fmt: skip
    """The explanation of one request."""
    exchange, trace = request(None, **parts), Trace()
    exchange.raw_target, exchange.target = target, None
    verdict = judge(policies.table, exchange, presenting(who), trace)
    return explain(policies.table, policies.places, exchange, verdict, trace)


def routes(*matches: str) -> Policies:
    """Routes `r0` and on, of these matches."""
    lines = [f"  - {{name: r{n}, match: {{{m}}}, {ASKED}}}" for n, m in enumerate(matches)]
    return parsed("routes:\n" + "\n".join(lines))


@pytest.mark.parametrize(
    ("winner", "other", "why"),
    [
        ("paths: [/a/b]", "paths: ['/a/*']", "b goes before *"),
        ("paths: ['/a/*']", "paths: [/a/**]", "* goes before **"),
        ("paths: ['/*/b']", "paths: ['/*/**']", "b goes before **"),
        ("paths: [/a/b]", "paths: [/a/b/**]", "the end goes before **"),
        ("hosts: [a.test], paths: [/**]", "paths: [/a/b]", "the host a.test goes first"),
        ("hosts: [a.test], paths: [/**]", "hosts: ['*.test'], paths: [/a/b]", "the host a.test goes first"),
        ("paths: [/a/b], methods: [GET]", "paths: [/a/b], methods: [POST]", "not for GET"),
    ],
)  # fmt: skip
def test_why_the_winner_won(winner: str, other: str, why: str) -> None:
    """Whatever the order of the routes; the chosen one first."""
    for matches, name in (((winner, other), "r0"), ((other, winner), "r1")):
        found = explained(routes(*matches))
        assert found["route"] == name
        assert found["place"] == f"0.yaml:{2 + int(name[1])}"
        by_name = {one["route"]: one for one in found["candidates"]}
        assert len(by_name) == 2
        assert by_name.pop(name)["chosen"]
        (loser,) = by_name.values()
        assert (loser["chosen"], loser["why"]) == (False, why)


def test_a_path_that_ends_in_a_slash() -> None:
    """The empty segment at its end is named."""
    found = explained(routes("paths: [/a/]", "paths: [/a/**]"), target="/a/")
    assert [one["why"] for one in found["candidates"]] == ["the most specific pattern", "the slash at the end goes before **"]  # fmt: skip


def test_where_no_route_takes_it_the_candidates_say_why() -> None:
    """405 names those of other methods, 404 has none, and of a bad target nothing was looked for."""
    policies = routes("paths: [/a/b], methods: [POST]", "paths: [/**]")
    found = explained(policies)
    assert (found["verdict"], found["route"]) == ("method_not_allowed", None)
    assert [one["why"] for one in found["candidates"]] == ["not for GET", "a goes before **"]  # fmt: skip
    assert not any(one["chosen"] for one in found["candidates"])
    assert explained(routes("paths: [/z]"))["candidates"] == []
    assert explained(policies, target="/a/../b")["candidates"] == []


def test_candidates_are_bounded() -> None:
    """A pattern may have a route for each method."""
    many = [f"paths: [/a/b], methods: [M{n}]" for n in range(CANDIDATES_MOST + 5)]
    assert len(explained(routes(*many))["candidates"]) == CANDIDATES_MOST


def test_entries_tell_what_was_asked_and_what_was_not() -> None:
    """Null is what the decision did not need; an error holds in `deny`."""
    allow = "[{groups: [ops], networks: [10.0.0.0/8]}, {groups: [eng]}, {scopes: [x]}]"
    text = route_text("deny: [{groups: [bad]}, {when: 'claims.none > 1'}]", allow=allow)
    found = explained(parsed(text))
    assert [(e["place"], e["holds"]) for e in found["entries"]] == [
        ("deny[0]", False),
        ("deny[1]", True),
        ("allow[0]", None),
        ("allow[1]", None),
        ("allow[2]", None),
    ]
    assert (found["verdict"], found["reason"]) == ("forbidden", "deny[1]")
    assert found["entries"][1]["conditions"][0]["error"]
    found = explained(parsed(route_text(allow=allow)))
    first, second, third = found["entries"]
    assert [c["holds"] for c in first["conditions"]] == [False, None]
    assert first["conditions"][0]["seen"] == {"groups": ["eng"]}
    assert (second["holds"], third["holds"]) == (True, None)


def test_a_second_factor_is_an_entry() -> None:
    """It stands between `deny` and `allow`, as it is asked."""
    found = explained(parsed(route_text("second_factor: true, deny: [{groups: [bad]}]")))
    assert [(e["place"], e["holds"]) for e in found["entries"]] == [("deny[0]", False), ("second_factor", False)]  # fmt: skip
    assert found["entries"][1]["conditions"][0]["missing"] == ["claims.amr"]


def test_it_is_json_all_through() -> None:
    """Whatever a claim holds."""
    who = Identity("tokens", "a", claims={"a": [{"b": None}, 1.5, True]})
    found = explained(parsed(route_text(allow="[{claims: {a: 1}}, {when: 'claims.a == claims.b'}]")), who)  # fmt: skip
    assert json.loads(json.dumps(found)) == found


@pytest.mark.parametrize("seed", range(30))
def test_the_tree_says_what_the_verdict_says(seed: int) -> None:
    """Allowed exactly where no enforced `deny` holds and an entry of `allow` does."""
    rnd = random.Random(seed)
    choices: list[dict[str, Any]] = [{"groups": ["eng"]}, {"groups": ["ops"]}, {"when": "claims.level > 2"}, {"when": "claims.no > 2"}, {"networks": ["127.0.0.0/8"], "scopes": ["read"]}]  # fmt: skip
    modes: list[dict[str, Any]] = [{}, {}, {"mode": "shadow"}]
    entries = [[{**rnd.choice(choices), **rnd.choice(modes)} for _ in range(rnd.randint(1, 4))] for _ in range(2)]  # fmt: skip
    policies = parsed(route_text(f"deny: {json.dumps(entries[0])}", allow=json.dumps(entries[1])))
    for groups in ((), ("eng",), ("ops",), ("eng", "ops")):
        who = Identity("tokens", "a", groups=groups, claims={"level": rnd.choice([1, 3])})
        found = explained(policies, who)
        held = [e for e in found["entries"] if e["holds"]]
        denied = any(e["place"].startswith("deny") and e["mode"] == "enforce" for e in held)
        allowed = any(e["place"].startswith("allow") for e in held)
        assert (found["verdict"] == "allow") == (allowed and not denied)
