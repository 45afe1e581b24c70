"""Who can reach a target, what somebody can reach: in the words of the files, and as the decision function has it."""

import pytest

from authproxy.model.address import parse_address
from authproxy.policy.caller import Known
from authproxy.policy.reach import Who, what, who
from tests.policy.generated import Maker, compiled
from tests.policy.naive import Asked, Decision, of_route
from tests.policy.reading import parsed, route, route_text


def ways(found: Who) -> dict[str, str]:
    """The entries that let in and keep out."""
    return {way.place: way.text for way in (*found.except_for, *found.ways)}


def test_what_changes_nothing_is_left_out() -> None:
    """Entries within others, conditions that always hold, and double ones are not needed, and said to be."""
    found = who(route(
        "deny: [{groups: [out]}, {groups: [out], scopes: [x]}]",
        allow="[{groups: [a, b]}, {groups: [a], networks: [10.0.0.0/8]}, {scopes: [s], authenticators: [tokens]}, {groups: [b, a]}]",
    ))  # fmt: skip
    assert ways(found) == {"deny[0]": "groups: [out]", "allow[0]": "groups: [a, b]", "allow[2]": "scopes: [s]"}  # fmt: skip
    assert found.idle == ("allow[1]", "allow[3]", "deny[1]")
    assert (found.public, found.nobody, found.anybody) == (False, False, False)


def test_nobody_anybody_and_the_public() -> None:
    """An `allow` that `deny` undoes lets nobody in; a route that asks nobody is public."""
    nobody = who(route("deny: [{groups: [a]}]", allow="[{groups: [a]}]"))
    assert (nobody.nobody, nobody.public) == (True, False)
    assert who(route()).anybody
    public = who(route(authenticate="none", allow=""))
    assert (public.public, public.anybody) == (True, True)


def test_shadow_and_when_are_named() -> None:
    """Entries in shadow are told apart, and a `when` is an unknown."""
    found = who(route("deny: [{groups: [a], mode: shadow}]", allow="[{when: 'claims.level > 1'}]"))
    assert (found.watched, found.unknowns) == (("deny[0]",), ("claims.level > 1",))
    assert ways(found) == {"allow[0]": "when: claims.level > 1"}


EVERY = route_text(
    allow="[{groups: [eng]}, {networks: [10.0.0.0/8]}, {subjects: [bob], scopes: [s]}]"
)


@pytest.mark.parametrize(("known", "verdict", "depends"), [
    (Known(anonymous=True), "unauthenticated", ()),
    (Known(groups=frozenset({"eng"})), "allow", ()),
    (Known(groups=frozenset({"ops"}), client=parse_address("192.0.2.1")), "forbidden", ()),
    (Known(groups=frozenset({"ops"})), "depends", ("networks: [10.0.0.0/8]",)),
    (Known(scopes=frozenset({"s"}), client=parse_address("192.0.2.1")), "depends", ("subjects: [bob]",)),
    (Known(subject="bob", scopes=frozenset({"s"})), "allow", ()),
    (Known(authenticator="staff"), "token_invalid", ()),
])  # fmt: skip
def test_what_somebody_can_reach(known: Known, verdict: str, depends: tuple[str, ...]) -> None:
    """A verdict where what is known settles it; else the conditions that do not."""
    (found,) = what(parsed(EVERY).table, known)
    assert (found.verdict, found.depends_on) == (verdict, depends)


def test_it_may_depend_on_who_vouches() -> None:
    """Where an entry names authenticators and nobody said which one it was, it depends on that."""
    text = route_text(authenticate="[tokens, staff]", allow="[{authenticators: [staff]}]")
    (found,) = what(parsed(text).table, Known(subject="ann"))
    assert (found.verdict, found.depends_on) == ("depends", ("authenticator",))


@pytest.mark.parametrize("seed", range(30))
def test_what_is_what_the_naive_interpreter_says(seed: int) -> None:
    """With all known, each route has one verdict, and it is the decision; without the address, it is among the possible."""
    maker = Maker(seed)
    routes = maker.policies(5, whens=False)
    table = compiled(routes).table
    for _ in range(10):
        request = maker.request()
        asked = Asked("PUT", request.host, request.path, request.client, {}, request.who)
        named = request.who or {"groups": (), "scopes": (), "claims": {}, "subject": None, "authenticator": None}  # fmt: skip
        known = Known(
            named["subject"], named["authenticator"], frozenset(named["groups"]), frozenset(named["scopes"]),
            named["claims"], parse_address(request.client), anonymous=request.who is None,
        )  # fmt: skip
        for found, wanted in zip(what(table, known), routes, strict=True):
            decision = of_route(wanted, asked, asked.path)
            (only,) = found.possible
            assert decision == Decision(only.code, wanted["name"], only.shadow)
