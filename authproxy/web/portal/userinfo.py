"""Who am I, and where else am I signed in: JSON for programs, a page for people."""

import time

import orjson
from aiohttp import web

from authproxy.authn.sessions import Session
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.web.answer import wants_page
from authproxy.web.compat import Request
from authproxy.web.portal.forms import form_token, is_our_form, read_form
from authproxy.web.portal.pages import answer, redirect
from authproxy.web.portal.portal import LOGIN, USERINFO, Portal


async def userinfo(request: Request, portal: Portal) -> web.Response:
    """Whose session this is (GET), and the end of all others of theirs (POST).

    Raises:
        Refusal: `unauthenticated`; what is no form of ours.
    """
    found = await portal.who(request)
    if found is None:
        if wants_page(request.exchange):
            return redirect(f"{LOGIN}?next={USERINFO}")
        raise Refusal("unauthenticated", "no-session")
    session, identity = found
    request.exchange.identity = identity
    if request.exchange.method == "POST":
        return await _end_others(request, portal, session)
    if not wants_page(request.exchange):
        return answer(_as_json(session, identity), "application/json")
    return portal.pages.page(
        "userinfo",
        host=request.exchange.host,
        identity=identity,
        signed_in_with=portal.title_of(session.authenticator),
        session=session,
        sessions=await portal.sessions.of(session.authenticator, session.subject, time.time()),
        csrf=form_token(request.cookies[portal.cookie]),
    )


async def _end_others(request: Request, portal: Portal, session: Session) -> web.Response:
    form = await read_form(request)
    if not is_our_form(request.cookies.get(portal.cookie), form.get("csrf", "")):
        raise Refusal("cross_site", "csrf")
    for other in await portal.sessions.of(session.authenticator, session.subject, time.time()):
        if other.key != session.key:
            await portal.sessions.end(other, time.time())
    return redirect(USERINFO)


def _as_json(session: Session, identity: Identity) -> bytes:
    return orjson.dumps(
        {
            "subject": identity.subject,
            "authenticator": identity.authenticator,
            "groups": identity.groups,
            "email": identity.email,
            "name": identity.name,
            "since": int(session.created),
            "expires_at": int(identity.expires_at or 0),
        }
    )
