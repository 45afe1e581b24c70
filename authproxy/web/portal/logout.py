"""The end of a session: asked for with a page, done with its form, never by a mere link (CSRF on logout, facts 96)."""

import time

from aiohttp import web

from authproxy.model.errors import Refusal
from authproxy.web.compat import Request
from authproxy.web.portal.forms import form_token, is_our_form, read_form
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
        await portal.sessions.end(found[0], time.time())
        request.exchange.identity = found[1]
        return _gone(portal)
    if found is None:
        return portal.pages.page("logged_out")
    _, identity = found
    token = form_token(request.cookies[portal.cookie])
    return portal.pages.page("logout", who=identity.name or identity.subject, csrf=token)


def _gone(portal: Portal) -> web.Response:
    answer = redirect("/.authproxy/logout")
    drop_cookie(answer, portal.cookie)
    return answer
