"""What two sets of policies differ in: kinds, words and bounds. That nothing is missed is `test_mutations.py`'s matter."""

from unittest.mock import Mock

import pytest

from authproxy.policy import difference
from authproxy.policy.diagram import TooLarge
from authproxy.policy.difference import Comparison, compare
from tests.policy.reading import parsed, route_text


def compared(old: str, new: str) -> Comparison:
    """The comparison of two policy files."""
    files = [parsed(text) for text in (old, new)]
    assert [p.problems for p in files] == [[], []]
    return compare(files[0].table, files[1].table, 0.0)


def kinds(old: str, new: str) -> list[str]:
    """The kinds of the differences; each is confirmed."""
    found = compared(old, new).differences
    assert all(one.confirmed for one in found)
    return [one.kind for one in found]


BASE = route_text(allow="[{groups: [eng]}]")
CHANGED = [
    (route_text(allow="[{groups: [eng, ops]}]"), ["opens"]),
    (route_text(allow="[{groups: [eng], scopes: [x]}]"), ["closes"]),
    (route_text("deny: [{networks: [10.0.0.0/8]}]", allow="[{groups: [eng]}]"), ["closes"]),
    (route_text(authenticate="none", allow=""), ["opens", "opens", "opens"]),
    (route_text("mode: shadow", allow="[{groups: [eng]}]"), ["opens"]),
    (route_text("cors_preflight: forward", allow="[{groups: [eng]}]"), ["opens", "opens", "opens"]),
    (route_text("encoded_slash: forward", allow="[{groups: [eng]}]"), ["opens", "refusal", "refusal", "refusal"]),
    (route_text("deny: [{groups: [eng], mode: shadow}]", allow="[{groups: [eng]}]"), ["shadow"]),
    (route_text("headers: {set: {X-A: '\"b\"'}}", allow="[{groups: [eng]}]"), ["route"]),
    (route_text("rate_limits: [{limit: 5/minute, per: address}]", allow="[{groups: [eng]}]"), ["limits"]),
    (BASE.replace("name: r", "name: s"), ["renamed"]),
    (BASE, []),
]  # fmt: skip


@pytest.mark.parametrize(("new", "expected"), CHANGED)
def test_kinds(new: str, expected: list[str]) -> None:
    """Each kind of change is called by its name, and the witness of each is confirmed."""
    assert kinds(BASE, new) == expected


def test_a_difference_says_who_and_where() -> None:
    """It names the verdicts, the methods, the targets, and what of the caller matters."""
    (one,) = compared(BASE, route_text(allow="[{groups: [eng, ops]}]")).differences
    assert (one.was.outcome.code, one.now.outcome.code) == ("forbidden", "allow")
    assert (list(one.methods), list(one.targets)) == (["any"], ["*/a/**"])
    assert one.witness.caller.words == ("by tokens", "group ops")
    assert one.witness.caller.lacks == ("group eng",)


def test_a_when_is_an_unknown() -> None:
    """What depends on a `when` is found, and names it; the same text on both sides is no difference."""
    texts = [route_text(allow=f"[{{when: 'claims.level > {least}'}}]") for least in (2, 3)]
    assert compared(texts[0], texts[0]).differences == []
    found = compared(*texts).differences
    assert [one.kind for one in found] == ["opens", "closes"]
    assert all(one.unknowns == ("claims.level > 2", "claims.level > 3") for one in found)


def test_limits_count_by_route() -> None:
    """A route that is two routes counts apart what it counted together: that is a change of limits, not of names."""
    limited = "rate_limits: [{limit: 5/minute, per: address}]"
    old = route_text(limited).replace("[/a/**]", "[/a/**, /b]")
    one, other = (route_text(limited).replace("[/a/**]", path) for path in ("[/a/**]", "[/b]"))
    new = f"{one[:-1]}, {other.replace('name: r', 'name: s').removeprefix('routes: [')}"
    assert kinds(old, new) == ["limits"]
    assert kinds(old, old.replace("name: r", "name: s")) == ["renamed"]


def test_what_is_too_large_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Conditions that are too many to be compared are named, and not taken for equal in silence."""

    def too_large(*_: object) -> None:
        raise TooLarge

    monkeypatch.setattr(difference, "_solve", too_large)
    found = compared(BASE, route_text(allow="[{groups: [ops]}]"))
    assert found.bounds == ["`r` and `r`: their conditions are too many to be compared"]


def test_too_many_classes_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """So are targets that were not looked at."""
    monkeypatch.setattr(difference, "CLASSES_MOST", 0)
    found = compared(BASE, route_text(allow="[{groups: [ops]}]"))
    assert found.bounds == ["there are more than 0 classes of targets: the rest was not compared"]


def many(groups: str, number: int = 20) -> str:
    """Routes that say the same, each of another name and for another path."""
    route = route_text(allow=f"[{{groups: [{groups}]}}]").removeprefix("routes: [")[:-1]
    made = (
        route.replace("name: r", f"name: r{n}").replace("/a/**", f"/{n}/**") for n in range(number)
    )
    return f"routes: [{', '.join(made)}]"


def test_what_many_routes_say_is_solved_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty routes that change in the same way are twenty differences, each with its own witness, and solved once."""
    solve = Mock(wraps=difference._solve)
    monkeypatch.setattr(difference, "_solve", solve)
    found = compared(many("eng"), many("eng, ops")).differences
    assert {(one.kind, one.confirmed, one.was.route.name) for one in found if one.was.route} == {
        ("opens", True, f"r{n}") for n in range(20)
    }
    assert len({one.witness.url for one in found}) == 20
    assert solve.call_count == 1


def test_too_much_work_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Past so many nodes over all routes nothing more is solved, and that is said; what was found before is told."""
    monkeypatch.setattr(difference, "WORK_MOST", 10)
    new = many("ops").replace("[ops]", "[qa]", 1)
    found = compared(many("eng"), new)
    assert found.bounds == [
        "the conditions of all routes need more than 10 nodes: the rest was not compared"
    ]
    assert {one.was.route.name for one in found.differences if one.was.route} == {"r0"}
