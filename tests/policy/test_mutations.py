"""`compare` against changes that are made on purpose: it finds each that matters, and nothing where nothing changed."""

from collections import Counter
from urllib.parse import urlsplit

import pytest

from authproxy.policy.difference import Comparison, Difference, Side, Witness, compare
from tests.policy.generated import Maker, compiled
from tests.policy.mutations import CHANGES, REWRITES, SERVICE_CHANGES, changed
from tests.policy.naive import Asked, Decision, Json, decide

NOW = 1_700_000_000.0
TRIES = 400
Shown = tuple[str, bool, str | None]


def compared(old: list[Json], new: list[Json]) -> Comparison:
    """What the program says of the two; nothing of it is left out."""
    found = compare(compiled(old).table, compiled(new).table, NOW)
    assert found.bounds == []
    return found


def shown(decision: Decision) -> Shown:
    """A naive decision in the terms of `said`."""
    return decision.verdict, decision.shadow, decision.route


def said(side: Side) -> Shown:
    """A side of a difference in the terms of `shown`."""
    return side.outcome.code, side.outcome.shadow, side.route.name if side.route else None


def asked(witness: Witness) -> Asked:
    """The witness as the naive interpreter is asked."""
    url, caller = urlsplit(witness.url), witness.caller
    who: Json | None = None
    if caller.identity is not None:
        known = caller.identity
        who = {
            "subject": known.subject, "authenticator": known.authenticator, "groups": list(known.groups),
            "scopes": list(known.scopes), "claims": dict(known.claims),
        }  # fmt: skip
    return Asked(
        witness.method, url.netloc, url.path, str(caller.client), dict(witness.headers), who
    )


def is_right(difference: Difference, old: list[Json], new: list[Json]) -> bool:
    """Does the naive interpreter see the same at the witness?"""
    request = asked(difference.witness)
    return [shown(decide(r, request)) for r in (old, new)] == [
        said(difference.was),
        said(difference.now),
    ]


def observed(maker: Maker, old: list[Json], new: list[Json]) -> tuple[Shown, Shown] | None:
    """Two verdicts on the same request that differ, as the naive interpreter sees them, if it meets any."""
    for _ in range(TRIES):
        request = maker.request()
        before, after = decide(old, request), decide(new, request)
        if (before.verdict, before.shadow) != (after.verdict, after.shadow):
            return shown(before), shown(after)
    return None


def seed_change(seed: int) -> tuple[str, list[Json], list[Json], tuple[Shown, Shown]]:
    """Policies, the same after a change, and verdicts that prove that it is one."""
    maker = Maker(seed)
    while True:
        old = maker.policies(5)
        name, new = changed(maker, old, CHANGES)
        proof = observed(maker, old, new)
        if proof is not None:
            return name, old, new, proof


def check_changes(seeds: range) -> Counter[str]:
    """Each change is found as it was observed, and every witness is right."""
    names: Counter[str] = Counter()
    for seed in seeds:
        name, old, new, proof = seed_change(seed)
        names[name] += 1
        found = compared(old, new).differences
        assert proof in {(said(d.was), said(d.now)) for d in found}, (seed, name, proof)
        for difference in found:
            assert difference.confirmed or difference.unknowns, (seed, name, difference)
            assert not difference.confirmed or is_right(difference, old, new), (
                seed,
                name,
                difference,
            )
    return names


def check_rewrites(seeds: range) -> Counter[str]:
    """No rewrite is taken for a change, however many of them there are at once."""
    names: Counter[str] = Counter()
    for seed in seeds:
        maker = Maker(seed)
        old = new = maker.policies(5)
        for _ in range(1 + seed % 3):
            name, new = changed(maker, new, REWRITES)
            names[name] += 1
        found = [d for d in compared(old, new).differences if d.kind != "renamed"]
        assert found == [], (seed, names, old, new)
    return names


def test_changes_are_found() -> None:
    """What the naive interpreter saw change is among the differences, and each witness shows what it is said to show."""
    assert check_changes(range(25)).total() == 25


def test_rewrites_are_none() -> None:
    """Policies that are written in another way and mean the same have no differences."""
    assert check_rewrites(range(60)).total() >= 60


@pytest.mark.slow
def test_two_hundred_changes_are_found() -> None:
    """The same for 200 changed sets of policies, of every kind of change."""
    assert len(check_changes(range(1000, 1200))) == len(CHANGES)


@pytest.mark.slow
def test_two_hundred_rewrites_are_none() -> None:
    """The same for 200 rewritten sets, by every kind of rewrite."""
    assert len(check_rewrites(range(1000, 1200))) == len(REWRITES)


@pytest.mark.parametrize("seed", range(10))
def test_other_service_is_found(seed: int) -> None:
    """Other limits, upstreams and headers are found where a request is allowed before and after."""
    maker = Maker(seed)
    old = maker.policies(4)
    _, new = changed(maker, old, SERVICE_CHANGES)
    names = [b["name"] for a, b in zip(old, new, strict=True) if a != b]
    allowed = {
        d.route
        for d in (decide(old, maker.request()) for _ in range(TRIES))
        if d.verdict == "allow"
    }
    found = compared(old, new).differences
    assert {d.kind for d in found} <= {"route", "limits"}
    if allowed & set(names):
        assert {said(d.was)[2] for d in found} == set(names)
        assert all(is_right(d, old, new) for d in found if d.confirmed)
