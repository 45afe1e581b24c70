"""Who is counted, in words: as the counters' own keys have it."""

from itertools import product
from typing import Any

import pytest

from authproxy.model.address import parse_address
from authproxy.model.exchange import Exchange
from authproxy.model.identity import Identity
from authproxy.policy.counting import counted_limits
from authproxy.rate_limits.step import Step
from tests.policy.reading import request, route

PER = ("subject", "claim:tenant", "claim:a.b", "address", "route")
LIMITS = ", ".join(f"{{name: l{n}, limit: 5/minute, per: '{per}', cost: 2}}" for n, per in enumerate(PER))  # fmt: skip
CLAIMS: tuple[dict[str, Any], ...] = (
    {}, {"tenant": "acme"}, {"tenant": 3}, {"tenant": "3"}, {"tenant": ["acme"]}, {"a": {"b": 1}},
)  # fmt: skip
ROUTE = route(f"rate_limits: [{LIMITS}]")


def exchange(authenticator: str, subject: str, claims: dict[str, Any], client: str) -> Exchange:
    """A request of this identity from this address, its route found."""
    address = parse_address(client)
    identity = Identity(authenticator, subject, claims=claims)
    return request(identity, route=ROUTE, client=address, client_text=str(address))


def test_callers_are_told_apart_as_the_counters_do() -> None:
    """Two requests have the same words for a limit exactly where they are counted under the same key."""
    found = [
        exchange(authenticator, subject, claims, client)
        for authenticator, subject, claims, client in product(
            ("tokens", "staff"), ("ann", 'tokens[tenant]:"acme"'),
            CLAIMS,
            ("192.0.2.1", "::ffff:192.0.2.1", "2001:db8::1", "2001:db8::2", "2001:db8:1::1"),
        )
    ]  # fmt: skip
    steps = (Step(ROUTE.address_limits, ROUTE.name), Step(ROUTE.identity_limits, ROUTE.name))
    keys = [[charge.key for step in steps for charge in step.charges(one)] for one in found]
    words = [[limit.key for limit in counted_limits(one)] for one in found]
    for number in range(len(PER)):
        pairs = {(k[number], w[number]) for k, w in zip(keys, words, strict=True)}
        assert len(pairs) == len({k for k, _ in pairs}) == len({w for _, w in pairs})


def test_a_limit_is_told_in_the_words_of_the_file() -> None:
    """Name, rate, who counts, cost and mode."""
    found = {
        x.per: x for x in counted_limits(exchange("tokens", "ann", {"tenant": 3}, "192.0.2.1"))
    }
    assert set(found) == set(PER)
    assert found["claim:tenant"].key == "tokens[tenant]:3"
    assert found["claim:a.b"].key == found["subject"].key == "tokens:ann"
    assert {(x.limit, x.cost, x.mode) for x in found.values()} == {("5/minute", 2, "enforce")}


@pytest.mark.parametrize(("identity", "number"), [(None, 2), (Identity("tokens", "ann"), 5)])
def test_what_needs_an_identity_waits_for_one(identity: Identity | None, number: int) -> None:
    """The order of work: a route's address limits first; none without a route."""
    found = request(identity, route=ROUTE)
    assert len(counted_limits(found)) == number
    found.route = None
    assert counted_limits(found) == ()
