"""The login: its page, and what comes of a password. Tries are bounded by address and by account before anything is hashed."""

import time
from urllib.parse import parse_qs

from aiohttp import web

from authproxy.authn.password import PasswordAuthenticator, password_mark
from authproxy.config.users import User, spelling
from authproxy.model.errors import Refusal
from authproxy.model.rate import parse_rate
from authproxy.model.return_path import return_path
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.step import AccountStep
from authproxy.web.compat import Request
from authproxy.web.portal.forms import form_token, is_our_form, new_secret, read_form
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import Portal
from authproxy.web.portal.storage import set_cookie
from authproxy.web.portal.texts import TEXTS

# Of one account, from wherever it is tried: guessing stays slow, and nobody is locked out for long.
ACCOUNT_LIMITS = [RouteLimit("account", parse_rate("50/hour"), "account")]
FIELDS_MOST = 32


async def login(request: Request, portal: Portal) -> web.Response:
    """The page with the form (GET), and the login itself (POST).

    Raises:
        Refusal: what is no form of ours, in size, shape or origin.
    """
    if request.exchange.method == "POST":
        return await _log_in(request, portal)
    wanted = return_path(_wanted(request))
    if await portal.who(request) is not None:
        return redirect(wanted)
    return _form(request, portal, wanted)


def _wanted(request: Request) -> str:
    query = request.exchange.raw_target.partition("?")[2]
    try:
        return parse_qs(query, max_num_fields=FIELDS_MOST).get("next", [""])[0]
    except ValueError:
        return ""


def _form(
    request: Request, portal: Portal, wanted: str, notice: str = "", status: int = 200
) -> web.Response:
    secret = request.cookies.get(portal.form_cookie) or new_secret()
    page = portal.pages.page(
        "login",
        status,
        host=request.exchange.host,
        next=wanted,
        csrf=form_token(secret),
        notice=notice,
        password=bool(portal.passwords),
        providers=[],
    )
    set_cookie(page, portal.form_cookie, secret)
    return page


async def _log_in(request: Request, portal: Portal) -> web.Response:
    exchange = request.exchange
    form = await read_form(request)
    wanted = return_path(form.get("next", ""))
    if not is_our_form(request.cookies.get(portal.form_cookie), form.get("csrf", "")):
        return _form(request, portal, wanted, TEXTS.expired_form, 403)
    account = AccountStep(ACCOUNT_LIMITS, spelling(form.get("username", "")[:256]))
    try:
        for step in (request.runtime.failures, account):
            request.runtime.limiter.look(step, exchange)
        found = await _find(portal, form.get("username", ""), form.get("password", ""))
    except Refusal as refusal:
        notice = TEXTS.too_many if refusal.status == 429 else TEXTS.busy
        exchange.code, exchange.reason = refusal.code, "login"
        page = _form(request, portal, wanted, notice, refusal.status)
        page.headers.extend(refusal.headers)
        return page
    if found is None:
        _count(request, account)
        exchange.code, exchange.reason = "token_invalid", "login"
        return _form(request, portal, wanted, TEXTS.wrong, 401)
    return await _begin(request, portal, found, wanted)


async def _find(
    portal: Portal, username: str, password: str
) -> tuple[PasswordAuthenticator, str, User] | None:
    for one in portal.passwords:
        found = await one.log_in(username, password)
        if found is not None:
            return one, *found
    return None


def _count(request: Request, account: AccountStep) -> None:
    """Note a failed try; this one is answered as what it is, the next one past the bound is not looked at."""
    for step in (request.runtime.failures, account):
        try:
            request.runtime.limiter.take_always(step, request.exchange)
        except Refusal:
            continue


async def _begin(
    request: Request, portal: Portal, found: tuple[PasswordAuthenticator, str, User], wanted: str
) -> web.Response:
    authenticator, subject, user = found
    storage = portal.storage
    session = await storage.new_session()
    session["authenticator"], session["subject"] = authenticator.name, subject
    session["data"] = {"password": password_mark(user), "amr": ["pwd"]}
    answer = redirect(wanted)
    await storage.save_session(request, answer, session)  # type: ignore[arg-type]  # only its cookies are read
    request.exchange.reason = f"logged in at {time.strftime('%H:%M:%S')}"
    return answer
