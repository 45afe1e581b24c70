"""The way from a refused page to the login and back: for people who navigate, never for programs, forms or sockets."""

from collections.abc import Sequence
from urllib.parse import urlencode

from authproxy.model.errors import Refusal
from authproxy.model.return_path import return_path
from authproxy.web.answer import Answer, respond, wants_page
from authproxy.web.compat import Request
from authproxy.web.portal.handover import login_place
from authproxy.web.portal.portal import Portal
from authproxy.web.portal.storage import cookie


class SentOn(Refusal):
    """A refusal whose answer sends the browser to another page: `head` are the header lines that do."""

    def __init__(self, code: str, reason: str, head: Sequence[bytes], *, close: bool) -> None:
        super().__init__(code, reason, close=close)
        self.head = head


def to_login(request: Request, refusal: Refusal) -> Answer | None:
    """The answer that sends a browser to the login, where that could help; else None."""
    exchange = request.exchange
    if isinstance(refusal, SentOn):
        exchange.code, exchange.reason = refusal.code, refusal.reason
        return respond(request, 303, refusal.head, b"", close=refusal.close)
    if refusal.status != 401 or exchange.route is None or exchange.method not in {"GET", "HEAD"}:
        return None
    if not exchange.engine.logins or not wants_page(exchange):
        return None
    exchange.code, exchange.reason = refusal.code, refusal.reason
    head = login_head(request, return_path(exchange.raw_target))
    return respond(request, 302, head, b"", close=refusal.close)


def login_head(request: Request, wanted: str, *cookies: str) -> list[bytes]:
    """The lines that send a browser to the login of this host, and from there to what it wanted; `cookies` go along."""
    runtime = request.runtime
    portal, logins = Portal.of(runtime), request.exchange.engine.logins
    location, secret = login_place(request, portal, wanted)
    if len(logins) < len(runtime.logins):
        # Somebody may be logged in by another one, which does not help here.
        location += f"&{urlencode({'by': ','.join(sorted(logins))})}"
    if secret:
        cookies = (*cookies, cookie(portal.form_cookie, secret))
    head = [f"Location: {location}\r\n".encode(), b"Cache-Control: no-store\r\n"]
    return head + [f"Set-Cookie: {one}\r\n".encode() for one in cookies]
