"""May it? Asks the policy, on every request; a decision is never kept."""

from authproxy.policy.decide import enforce, is_forwarded_preflight
from authproxy.web.compat import Request


def authorization(request: Request) -> None:
    """Let the request through, or refuse it as `forbidden`."""
    exchange = request.exchange
    route = exchange.route
    if not (route.forward_preflight and is_forwarded_preflight(route, exchange)):
        enforce(route, exchange)
    exchange.admitted = True
