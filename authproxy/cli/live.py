"""What is left of the limits of a request, as a running server says it, and what a request would come to by that.

The keys are those that the server counts under, made by its own steps.
"""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Any

from authproxy.model.exchange import Exchange
from authproxy.model.rate import Balance, Charge
from authproxy.policy.decide import Verdict
from authproxy.rate_limits.step import Step
from authproxy.runtime import Verification, global_limits

Peek = Callable[[Sequence[Charge]], list[Balance]]
# What is decided after the limits of every request, and before those of a route.
_OF_TARGET = frozenset({"bad_request", "no_route", "method_not_allowed"})


def with_live(
    decides: Verification,
    exchange: Exchange,
    verdict: Verdict,
    limits: Sequence[dict[str, Any]],
    peek: Peek,
) -> Verdict:
    """Note in each limit what is left of it; the verdict is `rate_limited` where one has no room, in the order of work."""
    counted = [limit for limit in limits if limit["key"] is not None]
    charges = _charges(decides, exchange)
    spent: dict[str, Any] | None = None
    for limit, balance in zip(counted, peek(charges) if charges else (), strict=True):
        limit["remaining"], limit["reset"] = balance.remaining, ceil(balance.reset)
        if balance.granted:
            continue
        if limit["mode"] == "shadow":
            exchange.shadow = exchange.shadow or "rate_limited"
        else:
            spent = spent or limit
    if spent is None or (verdict.code in _OF_TARGET and spent["of"] != "every request"):
        return verdict
    return Verdict("rate_limited", verdict.route, f"limit {spent['name']}")


def _charges(decides: Verification, exchange: Exchange) -> list[Charge]:
    steps = [Step(global_limits(decides.config), "")]
    route = exchange.route
    if route is not None:
        steps.append(Step(route.address_limits, route.name))
        if exchange.identity is not None:
            steps.append(Step(route.identity_limits, route.name))
    return [charge for step in steps for charge in step.charges(exchange)]
