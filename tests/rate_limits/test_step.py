"""The limits of one step: what is counted under which key, and what the answer says of it."""

from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError

from authproxy.model.address import parse_address
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.identity import Identity
from authproxy.model.rate import Balance, parse_rate
from authproxy.policy.document import RouteName
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.step import FAILED, KEPT_FORMS, LOGINS, Step, limit_fields


def exchange(client: str = "192.0.2.1", **identity: Any) -> Exchange:
    """A request of this client, with an identity of alice's unless told otherwise."""
    found = Exchange("id", 0.0, 0.0)
    address = parse_address(client)
    assert address is not None
    found.client, found.client_text = address, str(address)
    found.identity = Identity(**{"authenticator": "tokens", "subject": "alice", **identity})
    return found


def limit(per: str = "subject", claim: str = "", name: str = "fair", **more: Any) -> RouteLimit:
    """A limit of ten a minute."""
    return RouteLimit(name, parse_rate("10/minute"), per, claim, **more)


def key(one: RouteLimit, found: Exchange, scope: str = "route") -> bytes:
    """Under which this request is counted."""
    return Step([one], scope).charges(found)[0].key


def test_each_address_counts_as_it_should() -> None:
    """An IPv4 address by itself, also where it is IPv4-mapped; an IPv6 one by its /64."""
    per = limit("address")
    assert key(per, exchange("192.0.2.1")) == key(per, exchange("::ffff:192.0.2.1"))
    assert key(per, exchange("192.0.2.1")) != key(per, exchange("192.0.2.2"))
    assert key(per, exchange("2001:db8::1")) == key(per, exchange("2001:db8::ffff:1"))
    assert key(per, exchange("2001:db8::1")) != key(per, exchange("2001:db8:0:1::1"))


def test_subjects_are_their_authenticators() -> None:
    """An identity is (authenticator, subject): the same subject of another is another, and no joint of the two collides."""
    per = limit("subject")
    keys = {
        key(per, exchange(authenticator=authenticator, subject=subject))
        for authenticator, subject in (("a", "b"), ("b", "b"), ("a", "b/c"), ("a/b", "c"), ("a", ""), ("", "a"))
    }  # fmt: skip
    assert len(keys) == 6


def test_claims_count_by_type_and_value() -> None:
    """`per: claim:NAME` counts equal values together, 1 and "1" apart, and the subject where there is no claim."""
    per = limit("claim", "tenant")
    values = [1, "1", True, None, ["a"], {"a": 1}, "acme"]
    keys = [key(per, exchange(claims={"tenant": value})) for value in values]
    assert len(set(keys)) == len(values)
    assert key(per, exchange(claims={"tenant": "acme"}, subject="bob")) == keys[-1]
    assert key(per, exchange(subject="bob")) != key(per, exchange())


def test_scopes_and_names_are_apart() -> None:
    """Two routes, two limits, two windows or two strategies never share a count; `per: route` shares one among all."""
    found = exchange()
    others = [
        limit(),
        limit(name="other"),
        limit(strategy="fixed-window"),
        limit("route"),
        limit("address"),
    ]
    keys = {key(one, found, scope) for one in others for scope in ("a", "b", "")}
    assert len(keys) == 15
    assert key(limit("route"), exchange(subject="bob")) == key(
        limit("route"), exchange("203.0.113.1")
    )


@pytest.mark.parametrize("scope", [LOGINS, FAILED, KEPT_FORMS])
def test_no_route_counts_with_us(scope: str) -> None:
    """Limits of our own are in scopes that no route can be called, so none fills them or is filled by them."""
    with pytest.raises(ValidationError):
        TypeAdapter(RouteName).validate_python(scope)


def test_charges_carry_their_weight() -> None:
    """Cost and strategy go into the charge, and a shadow limit does not bind."""
    step = Step(
        [limit(cost=3, strategy="moving-window"), limit(name="watch", shadow=True)], "route"
    )
    first, second = step.charges(exchange())
    assert (first.cost, first.strategy, first.binding, second.binding) == (
        3,
        "moving-window",
        True,
        False,
    )
    assert not step.empty
    assert Step([], "route").empty


def test_an_answer_says_what_is_left() -> None:
    """draft-ietf-httpapi-ratelimit-headers-10: one member a limit, in their order; nothing where nothing is limited."""
    found = exchange()
    assert limit_fields(found) == b""
    step = Step([limit(), limit(name="door")], "route")
    step.settle(found, [Balance(True, 9, 12.2), Balance(True, 4, 0.5)], show=True)
    assert limit_fields(found) == (
        b'RateLimit-Policy: "fair";q=10;w=60, "door";q=10;w=60\r\n'
        b'RateLimit: "fair";r=9;t=13, "door";r=4;t=1\r\n'
    )
    alone = exchange()
    Step([limit()], "route").settle(alone, [Balance(True, 9, 12.2)], show=True)
    assert limit_fields(alone) == (
        b'RateLimit-Policy: "fair";q=10;w=60\r\nRateLimit: "fair";r=9;t=13\r\n'
    )


def test_a_refusal_waits_for_the_longest() -> None:
    """Of several limits without room, Retry-After is that of the one that takes longest, and at least a second."""
    step = Step([limit(), limit(name="door"), limit(name="free")], "route")
    balances = [Balance(False, 0, 3.1), Balance(False, 0, 40.5), Balance(True, 5, 60.0)]
    with pytest.raises(Refusal) as refused:
        step.settle(exchange(), balances, show=True)
    assert (refused.value.code, refused.value.reason) == ("rate_limited", "limit door")
    assert refused.value.headers == (("Retry-After", "41"),)
    with pytest.raises(Refusal) as soon:
        Step([limit()], "route").settle(exchange(), [Balance(False, 0, 0.0)], show=True)
    assert soon.value.headers == (("Retry-After", "1"),)


def test_a_hidden_step_shows_only_its_refusal() -> None:
    """Where `show` is off, what grants is not told; what refuses is."""
    found = exchange()
    Step([limit()], "").settle(found, [Balance(True, 9, 1.0)], show=False)
    assert limit_fields(found) == b""
    with pytest.raises(Refusal):
        Step([limit()], "").settle(found, [Balance(False, 0, 1.0)], show=False)
    assert limit_fields(found).endswith(b'RateLimit: "fair";r=0;t=1\r\n')


def test_a_shadow_limit_is_only_noted() -> None:
    """A shadow limit without room refuses nobody and is not told to the client."""
    found = exchange()
    Step([limit(shadow=True)], "route").settle(found, [Balance(False, 0, 9.0)], show=True)
    assert (found.shadow, limit_fields(found)) == ("rate_limited", b"")
