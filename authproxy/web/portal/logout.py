"""The end of a session: asked for with a page, done with its form, never by a mere link (CSRF on logout, facts 96)."""

from aiohttp import web

from authproxy.authn.oidc import OidcAuthenticator
from authproxy.authn.sessions import Session
from authproxy.model.errors import Refusal
from authproxy.web.compat import Request
from authproxy.web.portal.forms import form_token, is_our_form, new_secret, read_form
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import Portal
from authproxy.web.portal.storage import drop_cookie


async def logout(request: Request, portal: Portal) -> web.Response:
    """The page with the button (GET), and the end of the session (POST).

    Raises:
        Refusal: what is no form of ours.
    """
    found = await portal.who(request)
    if request.exchange.method == "POST":
        form = await read_form(request)
        if found is None:
            return _gone(portal)
        if not is_our_form(request.cookies.get(portal.cookie), form.get("csrf", "")):
            raise Refusal("cross_site", "csrf")
        await portal.end_login(found[0])
        request.exchange.identity = found[1]
        return _gone(portal, await _at_provider(portal, found[0]))
    if found is None:
        return portal.pages.page("logged_out")
    identity = found[1]
    token = form_token(request.cookies[portal.cookie])
    return portal.pages.page("logout", who=identity.name or identity.subject, csrf=token)


async def _at_provider(portal: Portal, session: Session) -> str:
    """Where the browser goes on to, to be signed out there as well; empty where there is no such place."""
    login = portal.logins.get(session.authenticator)
    if not isinstance(login, OidcAuthenticator):
        return ""
    return await login.end_session(session, new_secret()) or ""


def _gone(portal: Portal, at_provider: str = "") -> web.Response:
    answer = redirect(at_provider or "/.authproxy/logout")
    drop_cookie(answer, portal.cookie)
    # Pages of backends that may be kept, and those that the back button would show as they were.
    answer.headers["Clear-Site-Data"] = '"cache"'
    return answer
