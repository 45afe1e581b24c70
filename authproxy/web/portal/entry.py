"""The way from a refused page to the login and back: for people who navigate, never for programs, forms or sockets."""

from urllib.parse import quote

from authproxy.model.errors import Refusal
from authproxy.model.return_path import return_path
from authproxy.web.answer import Answer, respond, wants_page
from authproxy.web.compat import Request
from authproxy.web.portal.portal import LOGIN


def to_login(request: Request, refusal: Refusal) -> Answer | None:
    """The answer that sends a browser to the login, where that could help; else None."""
    exchange, runtime = request.exchange, request.runtime
    if refusal.status != 401 or exchange.route is None or exchange.method not in {"GET", "HEAD"}:
        return None
    if not runtime.engines[exchange.route].logins or not wants_page(exchange):
        return None
    exchange.code, exchange.reason = refusal.code, refusal.reason
    wanted = quote(return_path(exchange.raw_target), safe="/")
    head = [f"Location: {LOGIN}?next={wanted}\r\n".encode(), b"Cache-Control: no-store\r\n"]
    return respond(request, 302, head, b"", close=refusal.close)
