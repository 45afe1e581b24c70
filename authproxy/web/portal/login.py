"""The login: its page, and what comes of a password. Tries are bounded by address and by account before anything is hashed."""

import logging
from urllib.parse import parse_qs, urlencode

from aiohttp import web

from authproxy.authn.oidc import OidcAuthenticator
from authproxy.authn.password import PasswordAuthenticator
from authproxy.authn.password_mark import password_mark
from authproxy.config.users import User
from authproxy.fetch import FetchError
from authproxy.model.errors import Refusal
from authproxy.web.compat import Request
from authproxy.web.portal.departure import depart
from authproxy.web.portal.forms import form_token, is_our_form, new_secret, read_form
from authproxy.web.portal.handover import (
    asking_host,
    destination,
    go_to_login,
    is_sent_away,
)
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import LOGIN, Portal
from authproxy.web.portal.second_factor import ask_for_code
from authproxy.web.portal.storage import set_cookie
from authproxy.web.portal.texts import TEXTS
from authproxy.web.portal.tries import Tries

log = logging.getLogger(__name__)

FIELDS_MOST = 32


async def login(request: Request, portal: Portal) -> web.Response:
    """The page with the form (GET), and the login itself (POST).

    Raises:
        Refusal: what is no form of ours, in size, shape or origin.
    """
    query = _query(request)
    wanted = destination(request, portal, query.get("next", ""))
    if is_sent_away(request, portal):
        return go_to_login(request, portal, wanted)
    if request.exchange.method == "POST":
        return await _log_in(request, portal)
    found = await portal.who(request)
    if found is not None and _helps(found[0].authenticator, query.get("by")):
        return redirect(wanted)
    chosen = _chosen(portal, query.get("provider"))
    if chosen is not None and request.exchange.method == "GET":
        return await _depart(request, portal, chosen, wanted)
    return login_page(request, portal, wanted)


def _query(request: Request) -> dict[str, str]:
    query = request.exchange.raw_target.partition("?")[2]
    try:
        found = parse_qs(query, max_num_fields=FIELDS_MOST)
    except ValueError:
        return {}
    return {name: values[0] for name, values in found.items()}


def _helps(authenticator: str, wanted: str | None) -> bool:
    """Would a session of this login do, where those of some are wanted?"""
    return wanted is None or authenticator in wanted.split(",")


def _chosen(portal: Portal, name: str | None) -> OidcAuthenticator | None:
    """The provider that was chosen, or the only way in."""
    found = portal.providers
    if name is None and len(found) == 1 and not portal.passwords:
        return found[0]
    return next((one for one in found if one.name == name), None)


async def _depart(
    request: Request, portal: Portal, chosen: OidcAuthenticator, wanted: str
) -> web.Response:
    try:
        return await depart(request, portal, chosen, wanted)
    except FetchError as error:
        log.warning("nobody can log in at `%s`: %s", chosen.name, error)
        exchange = request.exchange
        exchange.code, exchange.reason = "upstream_unreachable", "provider"
        notice = TEXTS.away.format(name=chosen.title)
        return login_page(request, portal, wanted, notice, 502)


def login_page(
    request: Request, portal: Portal, wanted: str, notice: str = "", status: int = 200
) -> web.Response:
    """The page with every way in; `notice` says what came of the last try."""
    secret = request.cookies.get(portal.form_cookie) or new_secret()
    page = portal.pages.page(
        "login",
        status,
        host=asking_host(request, portal, wanted),
        next=wanted,
        csrf=form_token(secret),
        notice=notice,
        password=bool(portal.passwords),
        providers=[
            {
                "title": one.title,
                "href": f"{LOGIN}?{urlencode({'provider': one.name, 'next': wanted})}",
            }
            for one in portal.providers
        ],
    )
    set_cookie(page, portal.form_cookie, secret)
    return page


async def _log_in(request: Request, portal: Portal) -> web.Response:
    exchange = request.exchange
    form = await read_form(request)
    wanted = destination(request, portal, form.get("next", ""))
    if not is_our_form(request.cookies.get(portal.form_cookie), form.get("csrf", "")):
        return login_page(request, portal, wanted, TEXTS.expired_form, 403)
    tries = Tries(request, form.get("username", ""))
    try:
        async with tries.one():
            found = await _find(portal, form.get("username", ""), form.get("password", ""))
            if found is None:
                await tries.count()
    except Refusal as refusal:
        notice = TEXTS.too_many if refusal.status == 429 else TEXTS.busy
        exchange.code, exchange.reason = refusal.code, "login"
        page = login_page(request, portal, wanted, notice, refusal.status)
        page.headers.extend(refusal.headers)
        return page
    if found is None:
        exchange.code, exchange.reason = "token_invalid", "login"
        return login_page(request, portal, wanted, TEXTS.wrong, 401)
    return await _begin(request, portal, found, wanted)


async def _find(
    portal: Portal, username: str, password: str
) -> tuple[PasswordAuthenticator, str, User] | None:
    for one in portal.passwords:
        found = await one.log_in(username, password)
        if found is not None:
            return one, *found
    return None


async def _begin(
    request: Request, portal: Portal, found: tuple[PasswordAuthenticator, str, User], wanted: str
) -> web.Response:
    authenticator, subject, user = found
    if user.totp is not None:
        return await ask_for_code(request, portal, found, wanted)
    data = {"password": password_mark(user), "amr": ["pwd"]}
    return await portal.begin(request, authenticator.name, subject, data, wanted)
