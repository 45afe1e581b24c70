"""Which of a route's limits a request is counted by, and as whom, in words. Nothing is charged here.

The counters' own keys are hashes (`rate_limits/step.py`); a test holds both to the same idea of who is one caller.
"""

import json
from dataclasses import dataclass

from authproxy.model.address import counted_as
from authproxy.model.claims import MISSING, find_claim
from authproxy.model.exchange import Exchange
from authproxy.policy.table import Route, RouteLimit


@dataclass(frozen=True, slots=True)
class CountedLimit:
    """A limit that applies to a request, in the words of the policy file; `key` says who is counted."""

    name: str
    limit: str
    per: str
    key: str
    cost: int
    mode: str


def counted_limits(exchange: Exchange) -> tuple[CountedLimit, ...]:
    """What this decided request is charged by its route, in the order of work: a limit per address or route once there is
    a route, one per subject or claim once there is an identity, whatever is decided then.
    """
    route: Route | None = exchange.route
    if route is None:
        return ()
    known = exchange.identity is not None
    limits = (*route.address_limits, *(route.identity_limits if known else ()))
    return tuple(counted(limit, exchange) for limit in limits)


def counted(limit: RouteLimit, exchange: Exchange) -> CountedLimit:
    """The limit as it counts this exchange, which has what the limit counts by."""
    return CountedLimit(
        name=limit.name,
        limit=str(limit.rate),
        per=f"claim:{limit.claim}" if limit.per == "claim" else limit.per,
        key=_key(limit, exchange),
        cost=limit.cost,
        mode="shadow" if limit.shadow else "enforce",
    )


def _key(limit: RouteLimit, exchange: Exchange) -> str:
    """`192.0.2.1`, `2001:db8::/64`; `tokens:alice`; `tokens[tenant]:"acme"`; the route's name."""
    if limit.per == "route":
        return str(exchange.route.name)
    if limit.per == "address":
        return counted_as(exchange.client)
    identity = exchange.identity
    assert identity is not None, "limits of an identity come after authentication"
    value = find_claim(identity.claims, limit.claim) if limit.per == "claim" else MISSING
    if value is MISSING:
        return f"{identity.authenticator}:{identity.subject}"
    # As JSON, so that `3` and `"3"` are two; and no name of an authenticator has a bracket in it.
    said = json.dumps(value, ensure_ascii=False)
    return f"{identity.authenticator}[{limit.claim}]:{said}"
