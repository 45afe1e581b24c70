"""The three steps that count: every request, a route before its credentials are looked at, a route's identity.

Address limits come before any cryptography: refusing a forged token costs some 50 µs, a bucket 3 µs.
"""

from authproxy.rate_limits.limiter import Limiter, Waiting
from authproxy.runtime import Runtime
from authproxy.web.compat import Request


def global_limits(request: Request) -> Waiting:
    """Limits of every request, whatever it asks for."""
    runtime: Runtime = request.runtime
    if not runtime.global_step.empty:
        return runtime.limiter.take_always(runtime.global_step, request.exchange)
    return None


def address_limits(request: Request) -> Waiting:
    """The route's limits that need no identity."""
    exchange = request.exchange
    step = exchange.engine.address_step
    if not step.empty:
        limiter: Limiter = request.runtime.limiter
        return limiter.take(step, exchange)
    return None


def identity_limits(request: Request) -> Waiting:
    """The route's limits of whoever it is."""
    exchange = request.exchange
    step = exchange.engine.identity_step
    if not step.empty and exchange.identity is not None:
        limiter: Limiter = request.runtime.limiter
        return limiter.take(step, exchange)
    return None
