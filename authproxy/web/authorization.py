"""May it? Asks the policy, on every request; a decision is never kept."""

from aiohttp import web

from authproxy.policy.decide import enforce, is_forwarded_preflight
from authproxy.web.compat import Handler, Request


async def authorization(request: Request, handler: Handler) -> web.StreamResponse:
    """Let the request through, or refuse it as `forbidden`."""
    exchange = request.exchange
    route = exchange.route
    if not (route.forward_preflight and is_forwarded_preflight(route, exchange)):
        enforce(route, exchange)
    exchange.admitted = True
    return await handler(request)
