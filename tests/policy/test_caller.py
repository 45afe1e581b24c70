"""Callers made up for a function: no more than it takes, in words that say what matters."""

from authproxy.policy.algebra import Algebra
from authproxy.policy.caller import Caller, caller_of
from tests.policy.reading import route


def for_whom(allow: str, more: str = "") -> Caller:
    """Somebody whom a route with this `allow` permits."""
    found = route(more, allow=allow)
    algebra = Algebra([found])
    f = algebra.diagram.every((algebra.permitted(found), algebra.vouched(found)))
    return caller_of(algebra, f)


def test_a_caller_has_no_more_than_it_takes() -> None:
    """Of several ways in one is taken, and nothing is there that is not needed."""
    caller = for_whom("[{groups: [a], scopes: [x]}, {groups: [b]}]", "deny: [{groups: [z]}]")
    assert caller.identity is not None
    assert (caller.identity.groups, caller.identity.scopes) == (("b",), frozenset())
    assert caller.words == ("by tokens", "group b")
    assert caller.lacks == ("group z",)


def test_a_claim_with_several_values_is_a_list() -> None:
    """Two entries of `claims` over one name are a list in the token, one is a value."""
    caller = for_whom("[{claims: {t: a, u: 1}}]", "deny: [{claims: {u: 2}}]")
    assert caller.identity is not None
    assert caller.identity.claims == {"sub": "someone", "t": "a", "u": 1}


def test_the_names_made_up_are_nobody() -> None:
    """A subject that no condition names is another one than those that are named, in `sub` too."""
    caller = for_whom(
        "[{networks: [10.0.0.0/8]}]", "deny: [{subjects: [someone]}, {claims: {sub: someone-2}}]"
    )
    assert caller.identity is not None
    assert caller.identity.subject == "someone-2"
    assert caller.identity.claims["sub"] == "another"


def test_addresses_are_told_as_networks() -> None:
    """The innermost network that the client is in, and the outermost that it is not in."""
    caller = for_whom(
        "[{networks: [10.1.0.0/16]}]", "deny: [{networks: [10.1.0.0/17, 10.1.2.0/24]}]"
    )
    assert str(caller.client) == "10.1.128.1"
    assert caller.words == ("by tokens", "from 10.1.0.0/16")
    assert caller.lacks == ("from 10.1.0.0/17",)


def test_examples_come_from_where_nobody_is() -> None:
    """An address that may be any is this machine's, or one that is kept for examples."""
    assert str(for_whom("authenticated").client) == "127.0.0.1"
    assert (
        str(for_whom("authenticated", "deny: [{networks: [127.0.0.0/8]}]").client) == "2001:db8::1"
    )
    assert str(for_whom("[{networks: ['2001:db8::/32']}]").client) == "2001:db8::1"
