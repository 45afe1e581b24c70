"""Who is it? Asks the route's authenticators; a bad credential never falls through to the next or to anonymous."""

from collections.abc import Coroutine
from contextlib import suppress
from functools import partial
from typing import Any

from authproxy.authn.authentication import NO_SESSION
from authproxy.engines import RouteEngine
from authproxy.model.errors import Refusal, valued
from authproxy.model.identity import Identity
from authproxy.policy.decide import is_forwarded_preflight
from authproxy.rate_limits.limiter import Waiting, done
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
    found: Identity | Coroutine[Any, Any, Identity] | None
    found = engine.authentication.recall(request, exchange.now, exchange.fields.memo)
    if found is None:
        try:
            memo, admit = exchange.fields.memo, partial(_admit, request)
            found = engine.authentication.verify(request, exchange.now, memo, admit)
        except Refusal as refusal:
            waiting = _refused(request, engine, refusal)
            if waiting is None:
                raise
            return waiting
        if not isinstance(found, Identity):
            return _authenticate(request, engine, found)
    exchange.identity = found
    if found.authenticator in engine.logins:
        return _of_session(request, engine)
    return None


def _admit(request: Request) -> Waiting:
    # Past the bound, what nobody has verified yet is not even looked at; cached identities pass.
    runtime: Runtime = request.runtime
    return runtime.limiter.look(runtime.failures, request.exchange)


async def _authenticate(
    request: Request, engine: RouteEngine, waiting: Coroutine[Any, Any, Identity]
) -> None:
    exchange = request.exchange
    try:
        exchange.identity = identity = await waiting
    except Refusal as refusal:
        await done(_refused(request, engine, refusal))
        raise
    if identity.authenticator in engine.logins:
        await done(_of_session(request, engine))


def _of_session(request: Request, engine: RouteEngine) -> Waiting:
    check_session_use(request.exchange)
    if engine.route.preserve_post and request.exchange.method == "POST":
        return restore_form(request)
    return None


def _refused(request: Request, engine: RouteEngine, refusal: Refusal) -> Waiting:
    """What a refusal brings with it; what has to be waited for ends in this refusal, or in another one."""
    counting = None
    if refusal.code == "token_invalid" and refusal.reason != NO_SESSION:
        # This one was looked at and is answered as what it is; the next will not be.
        with suppress(Refusal):
            counting = request.runtime.limiter.take_always(
                request.runtime.failures, request.exchange
            )
    if counting is None and not engine.route.preserve_post:
        return None
    return _refuse(request, engine, valued(refusal), counting)


async def _refuse(
    request: Request, engine: RouteEngine, refusal: Refusal, counting: Waiting
) -> None:
    try:
        with suppress(Refusal):
            await done(counting)
        if engine.route.preserve_post:
            await keep_form(request, refusal)
        raise refusal
    finally:
        del refusal  # its traceback holds this frame
