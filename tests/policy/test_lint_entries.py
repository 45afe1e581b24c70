"""Warnings about entries: certain in both directions, against entries and identities that chance made."""

import json
import random
from typing import Any

import pytest

from authproxy.model.address import LOOPBACK, parse_address
from authproxy.model.headers import HeaderRules
from authproxy.model.identity import Identity
from authproxy.policy.condition import Entry
from authproxy.policy.lint import lint
from tests.policy.reading import parsed, request, route, route_text

NET = "[0.0.0.0/0, '::/0']"


def warnings(more: str = "", **parts: str) -> list[str]:
    """The codes for one route."""
    return [p.code for p in lint(parsed(route_text(more, **parts)), HeaderRules())]


@pytest.mark.parametrize(
    ("allow", "found"),
    [
        ("[{groups: [a, b]}, {groups: [a]}]", ["unreachable-entry"]),
        ("[{groups: [a]}, {groups: [a, b]}]", []),
        ("[{scopes: [a]}, {scopes: [b, a]}]", ["unreachable-entry"]),
        ("[{scopes: [a, b]}, {scopes: [a]}]", []),
        ("[{networks: [10.0.0.0/8]}, {networks: [10.1.0.0/16, 10.2.0.0/16], groups: [a]}]", ["unreachable-entry"]),
        ("[{networks: [10.1.0.0/16]}, {networks: [10.0.0.0/8]}]", []),
        ("[{networks: ['::ffff:10.0.0.0/104']}, {networks: [10.0.0.1]}]", ["unreachable-entry"]),
        ("[{claims: {a: [1, 2]}}, {claims: {a: 2, b: x}}]", ["unreachable-entry"]),
        ("[{claims: {a: 1}}, {claims: {a: true}}]", []),
        ("[{claims: {a: '1'}}, {claims: {a: 1}}]", []),
        ("[{claims: {a: 1}}, {claims: {a: 1.0}}]", ["unreachable-entry"]),
        ("[{when: 'claims.a == 1'}, {when: 'claims.a == 1', groups: [a]}]", ["unreachable-entry"]),
        ("[{when: 'true'}]", ["allow-everyone"]),
        ("[{when: '1 < 2', authenticators: [tokens]}]", ["allow-everyone"]),
        ("[{when: 'now > now'}]", []),
        ("[{when: '\"now\" == \"claims\"'}]", ["impossible-entry"]),
        ("[{when: '1 / 0 == 1'}]", ["impossible-entry"]),
        (f"[{{networks: {NET}}}]", ["allow-everyone"]),
        ("[{networks: [0.0.0.0/0]}]", []),
        ("[{networks: [0.0.0.0/1, 128.0.0.0/1]}, {networks: ['::/0']}]", ["allow-everyone"]),
        (f"[{{networks: {NET}, groups: [a]}}]", []),
        ("[{authenticators: [tokens]}]", ["allow-everyone"]),
        ("[{groups: ['eng-*']}, {subjects: ['*']}]", ["glob-in-value"] * 2),
        ("[{scopes: ['read:*']}, {claims: {path: '/a/*'}}]", []),
    ],
)  # fmt: skip
def test_entries_are_compared_by_what_they_say(allow: str, found: list[str]) -> None:
    """Any-of narrows by fewer values, all-of by more; networks by what lies in them; claims in JSON's own terms."""
    assert warnings(allow=allow) == found


@pytest.mark.parametrize(
    ("deny", "found"),
    [
        (f"[{{networks: {NET}}}]", ["deny-everyone"]),
        ("[{when: 'true'}]", ["deny-everyone"]),
        ("[{when: 'false'}]", ["impossible-entry"]),
        ("[{when: '1 / 0 == 1'}]", []),  # an error denies
        ("[{groups: [a]}, {groups: [a], scopes: [b]}]", ["unreachable-entry"]),
    ],
)
def test_a_deny_that_holds_for_nobody_or_everybody(deny: str, found: list[str]) -> None:
    """What fails counts for a refusal."""
    assert warnings(f"deny: {deny}") == found


def test_what_deny_covers_lets_nobody_in() -> None:
    """An entry of `allow` that an entry of `deny` holds with; one that is only wider than it is none."""
    text = route_text("deny: [{groups: [a, b]}]", allow="[{groups: [a]}, {groups: [a, c]}]")
    (problem,) = lint(parsed(text), HeaderRules())
    assert (problem.code, "allow[0] lets nobody in, deny[0]" in problem.text) == ("unreachable-entry", True)  # fmt: skip


def test_an_entry_in_shadow_covers_nothing_and_is_counted_all_the_same() -> None:
    """What is named as holding instead stands where it is said to."""
    text = route_text("deny: [{groups: [a], mode: shadow}, {groups: [a]}, {groups: [a]}]")
    found = [p.text for p in lint(parsed(text), HeaderRules()) if p.code == "unreachable-entry"]
    assert ["deny[2] never decides, deny[1] holds" in text for text in found] == [True]


def test_an_open_route_by_its_networks() -> None:
    """A list of networks that leaves nobody out is no protection."""
    assert warnings(authenticate="none", allow=f"[{{networks: {NET}}}]") == ["open-route"]
    assert warnings(authenticate="none", allow="[{networks: [0.0.0.0/0]}]") == []


CHOICES: dict[str, list[Any]] = {
    "groups": [["a"], ["b"], ["a", "b"], ["c"]],
    "scopes": [["r"], ["w"], ["r", "w"]],
    "subjects": [["alice"], ["alice", "bob"]],
    "authenticators": [["tokens"], ["staff"], ["tokens", "staff"]],
    "networks": [["127.0.0.0/8"], ["127.0.0.1"], ["10.0.0.0/8", "127.0.0.0/16"], ["10.1.0.0/16"], ["0.0.0.0/0", "::/0"]],
    "claims": [{"t": 1}, {"t": [1, 2]}, {"t": 1, "u": "x"}, {"t": "1"}],
    "when": ["claims.t == 1", "true", "'a' in identity.groups", "false"],
}  # fmt: skip


def _entry(rnd: random.Random) -> dict[str, Any]:
    words = rnd.sample(sorted(CHOICES), rnd.choice([1, 1, 2, 3]))
    return {word: rnd.choice(CHOICES[word]) for word in words}


def _identity(rnd: random.Random) -> Identity:
    claims: dict[str, Any] = rnd.choice(
        [{}, {"t": 1}, {"t": [1, 3]}, {"t": 2, "u": "x"}, {"t": "1", "u": "x"}]
    )
    return Identity(
        rnd.choice(["tokens", "staff"]),
        rnd.choice(["alice", "bob", "eve"]),
        groups=tuple(rnd.sample(["a", "b", "c"], rnd.randint(0, 3))),
        scopes=frozenset(rnd.sample(["r", "w"], rnd.randint(0, 2))),
        claims=claims,
    )


def _holds(entry: Entry, identity: Identity, client: str, *, denies: bool) -> bool:
    exchange = request(identity, client=parse_address(client) or LOOPBACK, client_text=client)
    found = [condition.test(exchange) for condition in entry.conditions]
    return all(one is True or (denies and isinstance(one, str)) for one in found)


@pytest.mark.parametrize("seed", range(60))
def test_a_warning_is_certain(seed: int) -> None:
    """Entries that are said to decide nothing, to hold for everyone or nobody, do so for all that chance brings."""
    rnd = random.Random(seed)
    lists = {word: [_entry(rnd) for _ in range(rnd.randint(1, 5))] for word in ("deny", "allow")}
    text = {word: json.dumps(entries) for word, entries in lists.items()}
    both = "[tokens, staff]"
    policies = parsed(route_text(f"deny: {text['deny']}", authenticate=both, allow=text["allow"]))
    compiled = route(f"deny: {text['deny']}", authenticate=both, allow=text["allow"])
    entries = {"deny": compiled.deny, "allow": compiled.allow or ()}
    found = lint(policies, HeaderRules())
    source, _ = policies.places["r"]
    for _ in range(60):
        who, client = _identity(rnd), rnd.choice(["127.0.0.1", "10.1.2.3", "192.0.2.1", "2001:db8::1"])  # fmt: skip
        held = {
            word: [_holds(e, who, client, denies=word == "deny") for e in listed]
            for word, listed in entries.items()
        }
        for problem in found:
            for word, values in held.items():
                for index, holds in enumerate(values):
                    at = source.place(("routes", 0, word, index)) == (problem.line, problem.column)
                    if at and problem.code == "unreachable-entry" and holds:
                        assert any(held["deny"]) or any(values[:index])
                    if at and problem.code == "impossible-entry":
                        assert not holds
                if problem.code == f"{word}-everyone":
                    assert any(values)
