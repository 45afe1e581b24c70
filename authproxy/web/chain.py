"""The order of work, in one place. A layer is a middleware in aiohttp's own form: `async def layer(request, handler)`."""

from functools import partial

from authproxy.web.authentication import authentication
from authproxy.web.authorization import authorization
from authproxy.web.compat import Handler
from authproxy.web.envelope import envelope
from authproxy.web.intake import intake, routing
from authproxy.web.rate_limiting import address_limits, global_limits, identity_limits
from authproxy.web.relay import relay

CHAIN = (
    envelope,
    intake,
    global_limits,
    routing,
    address_limits,
    authentication,
    identity_limits,
    authorization,
)


def compose() -> Handler:
    """The whole chain as one handler; made once, when the server starts."""
    handler: Handler = relay
    for layer in reversed(CHAIN):
        handler = partial(layer, handler=handler)
    return handler
