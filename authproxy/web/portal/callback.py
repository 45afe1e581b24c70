"""Where a provider sends a browser back to: from its answer to a session, or to a page that says why not.

Nothing of the answer is believed before the login that it belongs to is found, by its state and by this browser's cookie;
nothing of it is ever shown or logged.
"""

import asyncio
import logging
from urllib.parse import parse_qsl

from aiohttp import web

from authproxy.authn.login_records import PendingLogin
from authproxy.authn.oidc import LoggedIn, OidcAuthenticator
from authproxy.authn.provider import ProviderRefused
from authproxy.fetch import FetchError
from authproxy.model.errors import Refusal
from authproxy.web.compat import Request
from authproxy.web.own_site import own_origin
from authproxy.web.portal.login import login_page
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import Portal
from authproxy.web.portal.texts import TEXTS

log = logging.getLogger(__name__)

PATH = "/.authproxy/callback/"
FIELDS_MOST = 16
CODE_MOST = 4096
SECONDS_MOST = 20.0  # for all questions of one login together
# What a provider may say went wrong (RFC 6749 section 4.1.2.1, OpenID Connect Core section 3.1.2.6): other words are not logged.
ERRORS = frozenset({
    "access_denied", "account_selection_required", "consent_required", "interaction_required", "invalid_request",
    "invalid_scope", "login_required", "server_error", "temporarily_unavailable", "unauthorized_client",
    "unsupported_response_type",
})  # fmt: skip


async def callback(request: Request, portal: Portal, name: str) -> web.Response:
    """The end of a login at the provider `name`.

    Raises:
        Refusal: `no_route`: there is no such provider.
        StateUnavailable: nobody can tell whose login it is.
    """
    authenticator = portal.logins.get(name)
    if not isinstance(authenticator, OidcAuthenticator):
        raise Refusal("no_route", "provider")
    exchange, answer = request.exchange, _answer(request)
    state = answer.get("state", "")
    login = await portal.pending.find(state, exchange.now)
    # Another provider's answer to this login is a mix-up (RFC 9207 section 4): no part of it is looked at.
    if login is None or login.authenticator != name or login.origin != own_origin(exchange):
        return _over(request, portal, "login-unknown")
    if not login.is_of(request.cookies.get(portal.form_cookie)):
        return _over(request, portal, "login-of-another-browser")
    if not await portal.pending.take(state):
        return _over(request, portal, "login-used")
    try:
        async with asyncio.timeout(SECONDS_MOST):
            found = await _finish(authenticator, answer, login, exchange.now)
    except TimeoutError:
        error = FetchError(f"no answer within {SECONDS_MOST:g} s")
        return _failed(request, portal, authenticator, login, error)
    except (Refusal, ProviderRefused, FetchError) as error:
        return _failed(request, portal, authenticator, login, error)
    return await _begin(request, portal, authenticator, found, login)


def _answer(request: Request) -> dict[str, str]:
    """What the provider says, by the names that mean something here; each once."""
    query = request.exchange.raw_target.partition("?")[2]
    try:
        pairs = parse_qsl(query, keep_blank_values=True, max_num_fields=FIELDS_MOST)
    except ValueError:
        return {}
    known = [(name, value) for name, value in pairs if name in {"code", "state", "iss", "error"}]
    found = dict(known)
    return found if len(found) == len(known) else {}


async def _finish(
    authenticator: OidcAuthenticator, answer: dict[str, str], login: PendingLogin, now: float
) -> LoggedIn:
    await authenticator.check_issuer(answer.get("iss"))
    if "error" in answer:
        word = answer["error"]
        raise ProviderRefused(word if word in ERRORS else "error")
    code = answer.get("code", "")
    if not 0 < len(code) <= CODE_MOST:
        raise Refusal("token_invalid", "code")
    return await authenticator.log_in(code, login, now)


async def _begin(
    request: Request,
    portal: Portal,
    authenticator: OidcAuthenticator,
    found: LoggedIn,
    login: PendingLogin,
) -> web.Response:
    storage = portal.storage
    session = await storage.new_session()
    session["authenticator"], session["subject"] = authenticator.name, found.subject
    session["data"], session["marks"] = found.data, found.marks
    answer = redirect(login.next)
    await storage.save_session(request, answer, session)  # type: ignore[arg-type]  # only its cookies are read
    request.exchange.reason = "logged in"
    return answer


def _over(request: Request, portal: Portal, reason: str) -> web.Response:
    request.exchange.code, request.exchange.reason = "token_invalid", reason
    return login_page(request, portal, "/", TEXTS.login_over, 403)


def _failed(
    request: Request,
    portal: Portal,
    authenticator: OidcAuthenticator,
    login: PendingLogin,
    error: Refusal | ProviderRefused | FetchError,
) -> web.Response:
    """The page of a login that came to nothing, and a line in the log that says why."""
    exchange = request.exchange
    exchange.code, exchange.reason, status, text = "token_invalid", "provider", 403, TEXTS.failed
    if isinstance(error, Refusal):
        exchange.code, exchange.reason = error.code, error.reason
        log.warning("a login at `%s` failed: its token is refused: %s", authenticator.name, error.reason)  # fmt: skip
    elif isinstance(error, ProviderRefused):
        exchange.reason = f"provider {error}"
        text = TEXTS.declined if str(error) == "access_denied" else text
        log.warning("a login at `%s` failed: it says %s", authenticator.name, error)
    else:
        exchange.code, status, text = "upstream_unreachable", 502, TEXTS.away
        log.warning("a login at `%s` failed: %s", authenticator.name, error)
    return login_page(request, portal, login.next, text.format(name=authenticator.title), status)
