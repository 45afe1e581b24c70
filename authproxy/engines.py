"""What serves each route: its authenticators, its limits, what makes its heads for the backend, all ready when a request comes.

What is the same for many routes is one object of theirs. With thousands of routes a request would otherwise wait for
memory that nobody has touched for a while, and a client that goes from route to route would have its token hashed and
its fields written anew each time.
"""

from collections.abc import Callable
from dataclasses import dataclass

from authproxy.authn.authentication import Authentication
from authproxy.policy.outbound import Changes, Outbound
from authproxy.policy.table import Route, RouteLimit
from authproxy.rate_limits.step import Step

NO_LIMITS = Step((), "")


@dataclass(frozen=True, slots=True, eq=False)
class RouteEngine:
    """What serves one route."""

    route: Route
    authentication: Authentication | None
    address_step: Step
    identity_step: Step
    outbound: Outbound
    upstream: str
    logins: frozenset[str]  # those of its authenticators that people log in to


class Engines:
    """Makes the engines of one runtime's routes. `authentication` and `outbound` make for a route what they are named for;
    the first depends on its authenticators alone, the second on these, its upstream and its `Changes`.
    """

    def __init__(
        self,
        authentication: Callable[[Route], Authentication | None],
        outbound: Callable[[Route], Outbound],
        logins: frozenset[str],
    ) -> None:
        self._make_authentication = authentication
        self._make_outbound = outbound
        self._logins = logins
        self._doors: dict[tuple[str, ...], tuple[Authentication | None, frozenset[str]]] = {}
        self._outbounds: dict[tuple[tuple[str, ...], str, Changes], tuple[Outbound, str]] = {}

    def engine(self, route: Route) -> RouteEngine:
        """The engine of this route."""
        asked = route.authenticators
        door = self._doors.get(asked)
        if door is None:
            door = self._make_authentication(route), self._logins & set(asked)
            self._doors[asked] = door
        way = asked, route.upstream, Changes.of(route)
        out = self._outbounds.get(way)
        if out is None:
            out = self._outbounds[way] = self._make_outbound(route), route.upstream
        return RouteEngine(
            route,
            door[0],
            _step(route.address_limits, route.name),
            _step(route.identity_limits, route.name),
            *out,
            door[1],
        )


def _step(limits: tuple[RouteLimit, ...], scope: str) -> Step:
    return Step(limits, scope) if limits else NO_LIMITS
