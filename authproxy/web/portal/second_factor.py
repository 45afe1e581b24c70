"""The second step of a login: the code that the user's own device shows, asked for after the password."""

from aiohttp import web

from authproxy.authn.password import PasswordAuthenticator
from authproxy.authn.password_mark import password_mark
from authproxy.authn.second_factor import SecondStep, browser_hash
from authproxy.config.users import User
from authproxy.model.errors import Refusal
from authproxy.web.compat import Request
from authproxy.web.portal.forms import form_token, is_our_form, new_secret, read_form
from authproxy.web.portal.handover import destination, go_to_login
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import LOGIN, Portal
from authproxy.web.portal.storage import set_cookie
from authproxy.web.portal.texts import TEXTS
from authproxy.web.portal.tries import Tries


async def ask_for_code(
    request: Request, portal: Portal, found: tuple[PasswordAuthenticator, str, User], wanted: str
) -> web.Response:
    """The page that asks for the code, once the password was right.

    Raises:
        StateUnavailable: it cannot be noted that it was.
    """
    authenticator, subject, user = found
    secret = request.cookies.get(portal.form_cookie) or new_secret()
    step = SecondStep(authenticator.name, subject, password_mark(user), browser_hash(secret))
    step_id = await portal.second_steps.begin(step, request.exchange.now)
    request.exchange.reason = "code asked for"
    return _page(portal, secret, step_id, wanted)


def _page(
    portal: Portal, secret: str, step_id: str, wanted: str, notice: str = "", status: int = 200
) -> web.Response:
    page = portal.pages.page(
        "code",
        status,
        step=step_id,
        next=wanted,
        csrf=form_token(secret),
        notice=notice,
    )
    set_cookie(page, portal.form_cookie, secret)
    return page


async def second_factor(request: Request, portal: Portal) -> web.Response:
    """The second step of a login (POST); whoever comes without one begins with the first.

    Raises:
        Refusal: what is no form of ours.
        StateUnavailable: nobody can tell whose login it is, or whether the code was used.
    """
    exchange = request.exchange
    if exchange.method != "POST":
        return redirect(LOGIN)
    form = await read_form(request)
    wanted = destination(request, portal, form.get("next", ""))
    secret, step_id = request.cookies.get(portal.form_cookie), form.get("step", "")
    step = None
    if secret and is_our_form(secret, form.get("csrf", "")):
        step = await portal.second_steps.find(step_id, secret, exchange.now)
    found = None if step is None else _still(portal, step)
    if secret is None or step is None or found is None:
        exchange.code, exchange.reason = "token_invalid", "second-step"
        return go_to_login(request, portal, wanted)
    tries = Tries(request, step.subject)
    try:
        await tries.look()
    except Refusal as refusal:
        exchange.code, exchange.reason = refusal.code, "login"
        page = _page(portal, secret, step_id, wanted, TEXTS.too_many, refusal.status)
        page.headers.extend(refusal.headers)
        return page
    code, totp = form.get("code", ""), found.totp or ""
    if not await portal.codes.accept(step.authenticator, step.subject, totp, code, exchange.now):
        await tries.count()
        exchange.code, exchange.reason = "token_invalid", "code"
        return _page(portal, secret, step_id, wanted, TEXTS.wrong_code, 401)
    if not await portal.second_steps.take(step_id):
        return go_to_login(request, portal, wanted)
    data = {"password": step.mark, "amr": ["pwd", "otp"]}
    return await portal.begin(request, step.authenticator, step.subject, data, wanted)


def _still(portal: Portal, step: SecondStep) -> User | None:
    """The user of a second step, where nothing about them has changed since the first."""
    login = portal.logins.get(step.authenticator)
    if not isinstance(login, PasswordAuthenticator):
        return None
    user = login.users.by_name.get(step.subject)
    if user is None or user.disabled or user.totp is None or password_mark(user) != step.mark:
        return None
    return user
