"""A form that outlives a session: kept when it was refused, offered after the login, sent again by a button.

The button posts to where the form was going, with nothing but a token; here the kept bytes are put in its place, before
anything is decided about it. So the form is sent by the browser, to its own address, through every check, once: what is
refused, or finds no backend, stays kept and is offered again.
"""

from functools import partial
from urllib.parse import urlencode

from aiohttp import web

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.rate import parse_rate
from authproxy.model.return_path import return_path
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import done
from authproxy.rate_limits.step import KEPT_FORMS, Step, limit_fields
from authproxy.web.answer import Answer, advice, phrase, respond, wants_page
from authproxy.web.body import replace_body
from authproxy.web.compat import Request
from authproxy.web.own_site import check_own_site, own_origin
from authproxy.web.portal.entry import SentOn, login_head
from authproxy.web.portal.forms import (
    form_token,
    is_our_form,
    new_secret,
    read_body,
    read_form,
)
from authproxy.web.portal.handover import go_to_login
from authproxy.web.portal.kept_forms import BYTES_MOST, SECONDS, KeptForm
from authproxy.web.portal.pages import redirect
from authproxy.web.portal.portal import RESEND, Portal
from authproxy.web.portal.storage import cookie, drop_cookie

URLENCODED = "application/x-www-form-urlencoded"
KINDS = frozenset({URLENCODED, "multipart/form-data"})
FIELD = "authproxy-kept"
MARKER_MOST = 128  # bytes: the field and its token
# Only who had a session has a form kept, and nobody many; each is a record on the disk.
KEPT = Step(
    [
        RouteLimit("forms-of-address", parse_rate("10/minute"), "address"),
        RouteLimit("forms", parse_rate("200/minute"), "route"),
    ],
    KEPT_FORMS,
)


async def keep_form(request: Request, refusal: Refusal) -> None:
    """Keep the form that this request sends, where its session had expired, and send the browser to the login.

    Raises:
        SentOn: it is kept.
        Refusal: the one that there was, where there is no form to be kept; `request_timeout`.
        StateUnavailable: it is not kept.
    """
    exchange, portal = request.exchange, Portal.of(request.runtime)
    if refusal.code != "session_expired" or not _is_form(exchange):
        raise refusal
    session = await portal.sessions.known(request.cookies.get(portal.cookie, ""), exchange.now)
    if session is None:
        raise refusal
    try:
        await done(request.runtime.limiter.take(KEPT, exchange))
        # No more than would be taken when it is sent again.
        bound = request.runtime.config.bounds.body_bytes or BYTES_MOST
        body = await read_body(request, min(BYTES_MOST, bound))
    except Refusal as error:
        if error.code not in {"rate_limited", "body_too_large"}:
            raise
        refusal.close = error.close
        raise refusal from None
    if body == _marker(request.cookies.get(portal.kept_cookie)):
        # The button of an earlier form, whose session has expired as well: that form is what is to be sent.
        raise SentOn(refusal.code, refusal.reason, login_head(request, RESEND), close=refusal.close)
    form = KeptForm(
        session.authenticator,
        session.subject,
        own_origin(exchange),
        exchange.raw_target,
        exchange.headers["content-type"],
        body,
    )
    secret = new_secret()
    await portal.kept_forms.keep(secret, form, exchange.now)
    kept = cookie(portal.kept_cookie, secret, f"; Max-Age={int(SECONDS)}")
    raise SentOn(
        refusal.code, refusal.reason, login_head(request, RESEND, kept), close=refusal.close
    )


def _is_form(exchange: Exchange) -> bool:
    """Did somebody send a form here, from a page of this very origin?"""
    headers = exchange.headers
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    ours = headers.get("sec-fetch-site") == "same-origin" and wants_page(exchange)
    if exchange.method != "POST" or kind not in KINDS or "content-encoding" in headers or not ours:
        return False
    try:
        check_own_site(exchange)
    except Refusal:
        return False
    # What a page could not lead to without a doubt is not offered on one.
    return return_path(exchange.raw_target) == exchange.raw_target


async def resend(request: Request, portal: Portal) -> web.Response:
    """The page that offers the kept form (GET), and its end unsent (POST).

    Raises:
        Refusal: what is no form of ours.
        StateUnavailable: nobody can tell.
    """
    exchange = request.exchange
    found = await portal.who(request)
    if found is None:
        return go_to_login(request, portal, RESEND)
    session, exchange.identity = found
    secret = request.cookies.get(portal.kept_cookie)
    if exchange.method == "POST":
        return await _forget(request, portal, secret)
    form = await portal.kept_forms.find(secret, exchange.now)
    if form is None or not form.is_of(session.authenticator, session.subject, own_origin(exchange)):
        return portal.pages.page("nothing_kept")
    return portal.pages.page(
        "resend",
        origin=form.origin,
        target=form.target,
        field=FIELD,
        token=form_token(secret or ""),
        csrf=form_token(request.cookies[portal.cookie]),
    )


async def _forget(request: Request, portal: Portal, secret: str | None) -> web.Response:
    form = await read_form(request)
    if not is_our_form(request.cookies.get(portal.cookie), form.get("csrf", "")):
        raise Refusal("cross_site", "csrf")
    if secret:
        await portal.kept_forms.take(secret)
    answer = redirect("/")
    drop_cookie(answer, portal.kept_cookie)
    return answer


async def restore_form(request: Request) -> None:
    """Put a kept form in the place of the token that was sent for it; it is kept until a backend gets it.

    Raises:
        SentOn: there is none any more.
        Refusal: `request_timeout`.
        StateUnavailable: nobody can tell.
    """
    exchange, portal = request.exchange, Portal.of(request.runtime)
    secret = request.cookies.get(portal.kept_cookie)
    length = exchange.fields.content_length or 0
    plain = exchange.headers.get("content-type") == URLENCODED and not exchange.fields.chunked
    if not secret or not plain or not 0 < length <= MARKER_MOST:
        return
    body = await read_body(request, MARKER_MOST)
    exchange.fields.expects_continue = False  # it was told to go on
    if body != _marker(secret):
        replace_body(request, body)
        return
    form, identity = await portal.kept_forms.find(secret, exchange.now), exchange.identity
    good = (
        form is not None
        and identity is not None
        and form.is_of(identity.authenticator, identity.subject, own_origin(exchange))
        and form.target == exchange.raw_target
    )
    if form is None or not good:
        raise _nothing_kept()
    exchange.fields.replace_body(form.content_type.encode("latin-1", "replace"), len(form.body))
    replace_body(request, form.body)
    exchange.once = partial(_spend, exchange, portal, secret)
    exchange.reason = "kept form"


async def _spend(exchange: Exchange, portal: Portal, secret: str) -> None:
    """The form goes to a backend now, so it is kept no longer; of several that send it at once, one may."""
    if not await portal.kept_forms.take(secret):
        raise _nothing_kept()
    exchange.once = None


def _nothing_kept() -> SentOn:
    return SentOn("bad_request", "kept-form", [f"Location: {RESEND}\r\n".encode()], close=False)


def _marker(secret: str | None) -> bytes | None:
    """What is sent in the place of the form that this secret keeps."""
    return urlencode({FIELD: form_token(secret)}).encode() if secret else None


def offer_again(request: Request, refusal: Refusal) -> Answer | None:
    """The answer to a kept form that was refused before a backend got any of it: the refusal, and the way back to the
    form. None for everything else.
    """  # fmt: skip
    exchange = request.exchange
    from_offer = exchange.headers.get("referer") == f"{own_origin(exchange)}{RESEND}"
    if exchange.method != "POST" or exchange.sent_to or not from_offer or not wants_page(exchange):
        return None
    portal = Portal.of(request.runtime)
    if not request.cookies.get(portal.kept_cookie):
        return None
    exchange.code, exchange.reason = refusal.code, refusal.reason or exchange.reason
    page = portal.pages.page(
        "not_sent",
        title=refusal.title,
        advice=advice(refusal.status),
        status_text=f"{refusal.status} {phrase(refusal.status)}",
        request_id=exchange.request_id,
    )
    lines = [*page.headers.items(), *refusal.headers]
    head = [*(f"{name}: {value}\r\n".encode() for name, value in lines), limit_fields(exchange)]
    return respond(request, refusal.status, head, page.body or b"", close=refusal.close)  # type: ignore[arg-type]  # always bytes
