"""The three steps that count: every request, a route before its credentials are looked at, a route's identity.

Each is taken by all requests of a round at once, as what they ask of the state is one transaction then. Address limits come
before any cryptography: refusing a forged token costs some 50 µs, a bucket 3 µs.
"""

from collections.abc import Sequence

from authproxy.engines import NO_LIMITS
from authproxy.model.errors import Refusal
from authproxy.rate_limits.limiter import Limiter, Waiting
from authproxy.rate_limits.step import Step
from authproxy.web.compat import Request
from authproxy.web.rounds import together

Outcomes = Sequence[Waiting | Refusal]


@together
def global_limits(requests: Sequence[Request]) -> Outcomes:
    """Limits of every request, whatever it asks for."""
    return _take(requests, [r.runtime.global_step for r in requests], always=True)


@together
def address_limits(requests: Sequence[Request]) -> Outcomes:
    """The route's limits that need no identity."""
    return _take(requests, [r.exchange.engine.address_step for r in requests])


@together
def identity_limits(requests: Sequence[Request]) -> Outcomes:
    """The route's limits of whoever it is."""
    exchanges = [r.exchange for r in requests]
    steps = [x.engine.identity_step if x.identity is not None else NO_LIMITS for x in exchanges]
    return _take(requests, steps)


def _take(requests: Sequence[Request], steps: Sequence[Step], *, always: bool = False) -> Outcomes:
    outcomes: list[Waiting | Refusal] = [None] * len(requests)
    counted = [at for at, step in enumerate(steps) if not step.empty]
    if counted:
        limiter: Limiter = requests[0].runtime.limiter  # that of all runtimes of this process
        taken = [(steps[at], requests[at].exchange) for at in counted]
        for at, outcome in zip(counted, limiter.take_each(taken, always=always), strict=True):
            outcomes[at] = outcome
    return outcomes
