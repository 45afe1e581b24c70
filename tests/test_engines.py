"""What serves routes: what they have in common is one object of theirs, and what they have not is never shared."""

from dataclasses import replace

from authproxy.engines import NO_LIMITS, Engines, RouteEngine
from authproxy.model.rate import parse_rate
from authproxy.policy.outbound import Outbound
from authproxy.policy.table import Route, RouteLimit
from tests.authn.test_authentication import Door

FIRST = Route("first", "app", paths=("/first",), authenticators=("tokens",))


def made(*routes: Route) -> list[RouteEngine]:
    """The engines of these routes, of one runtime."""
    engines = Engines(
        lambda route: Door().authentication if route.authenticators else None,
        lambda route: Outbound(route, host=None, own_cookies=()),
        frozenset({"people"}),
    )
    return [engines.engine(route) for route in routes]


def test_routes_that_differ_in_name_and_place_share_the_rest() -> None:
    """So a client that goes from one to the other has its token hashed and its fields written once."""
    other = replace(FIRST, name="other", paths=("/other",), hosts=("a.test",))
    first, second = made(FIRST, other)
    assert first.authentication is second.authentication
    assert first.outbound is second.outbound
    assert first.address_step is second.address_step is NO_LIMITS
    assert (first.route, second.route) == (FIRST, other)


def test_other_authenticators_are_asked_for_another_route() -> None:
    """Also in another order, which decides who judges first; nobody is asked where the route asks nobody."""
    wanted = [("tokens",), ("tokens", "people"), ("people", "tokens"), ()]
    engines = made(*(replace(FIRST, name=str(asked), authenticators=asked) for asked in wanted))
    assert len({id(engine.authentication) for engine in engines}) == len(wanted)
    assert engines[-1].authentication is None
    assert [sorted(engine.logins) for engine in engines] == [[], ["people"], ["people"], []]


def test_what_changes_the_head_is_not_shared() -> None:
    """Another upstream, credential, method rule or header of a route makes heads of its own."""
    others = [
        replace(FIRST, upstream="else"),
        replace(FIRST, authenticators=()),
        replace(FIRST, strip_prefix=("first",)),
        replace(FIRST, remove_headers=frozenset({b"x-a"})),
        replace(FIRST, forward_authorization=True),
        replace(FIRST, methods=frozenset({"GET"})),
    ]
    engines = made(FIRST, *others)
    assert len({id(engine.outbound) for engine in engines}) == len(engines)
    assert [engine.upstream for engine in engines] == ["app", "else", "app", "app", "app", "app", "app"]  # fmt: skip


def test_equal_limits_of_two_routes_are_counted_apart() -> None:
    """What a limit says is shared, what it counts is the route's own."""
    limits = (RouteLimit("fair", parse_rate("1/hour"), "route"),)
    first, second = made(
        replace(FIRST, address_limits=limits), replace(FIRST, name="b", address_limits=limits)
    )
    assert first.address_step is not second.address_step
    one, other = first.address_step.only, second.address_step.only
    assert one is not None
    assert other is not None
    assert one.terms is other.terms
    assert one._number != other._number
