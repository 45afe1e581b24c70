"""Who is it? Asks the route's authenticators; a bad credential never falls through to the next or to anonymous."""

from aiohttp import web

from authproxy.authn.authentication import NO_SESSION, Authentication
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.policy.decide import is_forwarded_preflight
from authproxy.runtime import Runtime
from authproxy.web.compat import Handler, Request
from authproxy.web.own_site import check_session_use


async def authentication(request: Request, handler: Handler) -> web.StreamResponse:
    """Find the identity, or refuse."""
    exchange, runtime = request.exchange, request.runtime
    engine = runtime.engines[exchange.route]
    if engine.authentication is None or (
        engine.route.forward_preflight and is_forwarded_preflight(engine.route, exchange)
    ):
        return await handler(request)

    known = engine.authentication.recall(request, exchange.now, exchange.fields.memo)
    exchange.identity = identity = known or await _authenticate(request, engine.authentication)
    if identity.authenticator in engine.logins:
        check_session_use(exchange)
    return await handler(request)


async def _authenticate(request: Request, authentication: Authentication) -> Identity:
    exchange, runtime = request.exchange, request.runtime

    def admit_unverified() -> None:
        # Past the bound, what nobody has verified yet is not even looked at; cached identities pass.
        runtime.limiter.look(runtime.failures, exchange)

    try:
        return await authentication.authenticate(request, exchange.now, admit_unverified)
    except Refusal as refusal:
        if refusal.code == "token_invalid" and refusal.reason != NO_SESSION:
            _count_failure(runtime, request)
        raise


def _count_failure(runtime: Runtime, request: Request) -> None:
    try:
        runtime.limiter.take_always(runtime.failures, request.exchange)
    except Refusal:
        # This one was looked at and is answered as what it is; the next will not be.
        return
