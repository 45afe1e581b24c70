"""The way from a refused page to the login and back: for people who navigate, never for programs, forms or sockets."""

from urllib.parse import urlencode

from authproxy.model.errors import Refusal
from authproxy.model.return_path import return_path
from authproxy.web.answer import Answer, respond, wants_page
from authproxy.web.compat import Request
from authproxy.web.portal.handover import login_place
from authproxy.web.portal.portal import Portal
from authproxy.web.portal.storage import cookie


def to_login(request: Request, refusal: Refusal) -> Answer | None:
    """The answer that sends a browser to the login, where that could help; else None."""
    exchange, runtime = request.exchange, request.runtime
    if refusal.status != 401 or exchange.route is None or exchange.method not in {"GET", "HEAD"}:
        return None
    logins = runtime.engines[exchange.route].logins
    if not logins or not wants_page(exchange):
        return None
    exchange.code, exchange.reason = refusal.code, refusal.reason
    portal = Portal.of(runtime)
    location, secret = login_place(request, portal, return_path(exchange.raw_target))
    if len(logins) < len(runtime.logins):
        # Somebody may be logged in by another one, which does not help here.
        location += f"&{urlencode({'by': ','.join(sorted(logins))})}"
    head = [f"Location: {location}\r\n".encode(), b"Cache-Control: no-store\r\n"]
    if secret:
        head.append(f"Set-Cookie: {cookie(portal.form_cookie, secret)}\r\n".encode())
    return respond(request, 302, head, b"", close=refusal.close)
