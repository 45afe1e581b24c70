"""Who is it? Asks the route's authenticators; a bad credential never falls through to the next or to anonymous."""

from collections.abc import Coroutine
from typing import Any

from authproxy.authn.authentication import NO_SESSION
from authproxy.engines import RouteEngine
from authproxy.model.errors import Refusal
from authproxy.policy.decide import is_forwarded_preflight
from authproxy.rate_limits.limiter import done
from authproxy.runtime import Runtime
from authproxy.web.compat import Request
from authproxy.web.own_site import check_session_use
from authproxy.web.portal.resend import keep_form, restore_form


def authentication(request: Request) -> Coroutine[Any, Any, None] | None:
    """Find the identity, or refuse; what has to be verified first is waited for."""
    exchange = request.exchange
    engine: RouteEngine = exchange.engine
    if engine.authentication is None or (
        engine.route.forward_preflight and is_forwarded_preflight(engine.route, exchange)
    ):
        return None
    known = engine.authentication.recall(request, exchange.now, exchange.fields.memo)
    if known is None:
        return _authenticate(request, engine)
    exchange.identity = known
    if known.authenticator in engine.logins:
        check_session_use(exchange)
        if engine.route.preserve_post and exchange.method == "POST":
            return restore_form(request)
    return None


async def _authenticate(request: Request, engine: RouteEngine) -> None:
    exchange, runtime = request.exchange, request.runtime
    authentication = engine.authentication
    assert authentication is not None

    async def admit_unverified() -> None:
        # Past the bound, what nobody has verified yet is not even looked at; cached identities pass.
        await runtime.limiter.look(runtime.failures, exchange)

    try:
        identity = await authentication.authenticate(request, exchange.now, admit_unverified)
    except Refusal as refusal:
        if refusal.code == "token_invalid" and refusal.reason != NO_SESSION:
            await _count_failure(runtime, request)
        if engine.route.preserve_post:
            await keep_form(request, refusal)
        raise
    exchange.identity = identity
    if identity.authenticator in engine.logins:
        check_session_use(exchange)
        if engine.route.preserve_post and exchange.method == "POST":
            await restore_form(request)


async def _count_failure(runtime: Runtime, request: Request) -> None:
    try:
        await done(runtime.limiter.take_always(runtime.failures, request.exchange))
    except Refusal:
        # This one was looked at and is answered as what it is; the next will not be.
        return
