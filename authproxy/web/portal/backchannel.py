"""Back-channel logout: a provider says that somebody is out, and their sessions end, on every host and in every worker.

No browser takes part: what counts is the signature of the logout token, which is good once (OpenID Connect Back-Channel
Logout 1.0).
"""

import hashlib
import logging

from aiohttp import web

from authproxy.authn.id_token import LogoutToken, read_logout_token
from authproxy.authn.oidc import OidcAuthenticator, sid_mark, sub_mark
from authproxy.authn.sessions import Session
from authproxy.fetch import FetchError
from authproxy.model.errors import Refusal
from authproxy.rate_limits.limiter import done
from authproxy.state.store import StateUnavailable
from authproxy.web.compat import Request
from authproxy.web.portal.forms import read_form
from authproxy.web.portal.pages import answer
from authproxy.web.portal.portal import Portal

log = logging.getLogger(__name__)

KIND = "logout-token"


async def backchannel_logout(request: Request, portal: Portal, name: str) -> web.Response:
    """End whom the logout token names; 200, or 400 where it is none (section 2.8).

    Raises:
        Refusal: `no_route`: there is no such provider; what is no form; `rate_limited`.
        StateUnavailable: they may go on.
    """
    authenticator = portal.logins.get(name)
    if not isinstance(authenticator, OidcAuthenticator):
        raise Refusal("no_route", "provider")
    exchange, runtime = request.exchange, request.runtime
    await done(runtime.limiter.look(runtime.failures, exchange))
    form = await read_form(request)
    try:
        token = await read_logout_token(
            authenticator.provider, form.get("logout_token", ""), exchange.now
        )
    except FetchError as error:
        log.warning("a logout by `%s` failed: %s", name, error)
        return _refused(request, "provider")
    except Refusal as refusal:
        log.warning("a logout by `%s` failed: its token is refused: %s", name, refusal.reason)
        await _count(request)
        return _refused(request, refusal.reason)
    if not await _spend(request, name, token):
        return _refused(request, "replayed")
    try:
        found = await _meant(portal, name, token, exchange.now)
        for session in found:
            await portal.sessions.end(session, exchange.now)
    except StateUnavailable:
        # It did not do its work: the provider may send it again.
        await runtime.records.remove(KIND, _key(name, token))
        raise
    exchange.reason = f"ended {len(found)} sessions"
    return answer(b"", "text/plain; charset=utf-8")


async def _spend(request: Request, name: str, token: LogoutToken) -> bool:
    """Is it the first time? Of several at once, one is told so."""

    def first(known: bytes | None) -> tuple[bytes | None, float, bool]:
        return (b"1", token.expiry, True) if known is None else (None, 0.0, False)

    now = request.exchange.now
    spent: bool = await request.runtime.records.update(KIND, _key(name, token), now, first)
    return spent


def _key(name: str, token: LogoutToken) -> bytes:
    return hashlib.sha256(f"{name} {token.jti}".encode()).digest()


async def _meant(portal: Portal, name: str, token: LogoutToken, now: float) -> list[Session]:
    """A session of the provider's, or all of somebody (section 2.4); with both, it must be theirs."""
    sessions, sub = portal.sessions, token.sub
    if token.sid is None:
        return await sessions.marked(name, sub_mark(sub or ""), now)
    found = await sessions.marked(name, sid_mark(token.sid), now)
    return [one for one in found if sub in {None, one.data["claims"].get("sub")}]


async def _count(request: Request) -> None:
    try:
        await done(request.runtime.limiter.take_always(request.runtime.failures, request.exchange))
    except Refusal:
        return  # this one was looked at; the next will not be


def _refused(request: Request, reason: str) -> web.Response:
    request.exchange.code, request.exchange.reason = "token_invalid", reason
    return answer(b'{"error":"invalid_request"}', "application/json", 400)
