"""The order of work, in one place. A layer is a middleware in aiohttp's own form: `async def layer(request, handler)`."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from aiohttp import web

from authproxy.web.authentication import authentication
from authproxy.web.authorization import authorization
from authproxy.web.compat import Handler
from authproxy.web.envelope import envelope
from authproxy.web.intake import intake, routing
from authproxy.web.rate_limiting import address_limits, global_limits, identity_limits
from authproxy.web.redirection import redirect
from authproxy.web.relay import relay

Layer = Callable[..., Awaitable[web.StreamResponse]]  # (request, handler)

CHAIN: tuple[Layer, ...] = (
    envelope,
    intake,
    global_limits,
    routing,
    address_limits,
    authentication,
    identity_limits,
    authorization,
)


# On a listener that only sends clients elsewhere.
REDIRECTION = CHAIN[:3]


def compose() -> Handler:
    """The whole chain as one handler; made once, when the server starts."""
    return _composed(CHAIN, relay)


def compose_redirection() -> Handler:
    """The chain of a listener with `redirect_to_https`, as one handler."""
    return _composed(REDIRECTION, redirect)


def _composed(layers: Sequence[Layer], last: Handler) -> Handler:
    handler = last
    for layer in reversed(layers):
        handler = partial(layer, handler=handler)
    return handler
