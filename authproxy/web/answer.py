"""Answers to the client: a head and its body in one write, and refusals as problem+json or as a page.

Nothing of the request is ever quoted back (CVE-2022-29266 leaked a secret so); what the caller may know is in
`model.errors.REFUSALS`.
"""

import html
import json
from collections.abc import Coroutine, Iterable
from functools import lru_cache
from http import HTTPStatus
from typing import Any

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.rate_limits.step import limit_fields
from authproxy.web.compat import Request

# It looks as the pages of the portal do (`portal/style.css`), and asks for nothing besides itself.
PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><link rel="icon" href="data:,"><style>
:root{{color-scheme:light dark;--quiet:light-dark(#566170,#a2adbb);--accent:light-dark(#1f5fd1,#7fb0ff)}}
*{{box-sizing:border-box}}
body{{font:1rem/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif;margin:0;min-height:100vh;display:grid;
place-items:center;padding:1.5rem 1rem;background:light-dark(#f4f6f9,#12151a);color:light-dark(#1b222c,#e8ebf0)}}
main{{width:100%;max-width:25rem;padding:2rem;border-radius:14px;background:light-dark(#fff,#1b2027);
border:1px solid light-dark(#d9dee5,#313843);box-shadow:0 1px 2px #0000000d,0 12px 32px #00000014}}
svg{{display:block;width:2.25rem;height:2.25rem;color:var(--accent)}}
h1{{font-size:1.5rem;line-height:1.25;letter-spacing:-.01em;margin:.9rem 0 .4rem}}
p{{margin:0 0 1rem}}
a{{color:var(--accent)}}a:focus-visible{{outline:3px solid var(--accent);outline-offset:2px}}
footer{{margin-top:1.75rem;font-size:.8125rem;color:var(--quiet)}}
code{{font-family:ui-monospace,monospace;overflow-wrap:anywhere}}
</style></head><body><main>
<svg viewBox="0 0 24 24" fill="none" stroke="currentColor" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round"
aria-hidden="true"><path d="M12 3l7 2.8v5.4c0 4.5-2.9 8-7 9.8-4.1-1.8-7-5.3-7-9.8V5.8z"/><path d="M9.5 9l5 5M14.5 9l-5 5"/></svg>
<h1>{title}</h1>
<p>{advice}</p>{way_on}
<footer>{status} {phrase}<br>Request <code>{request_id}</code></footer>
</main></body></html>
"""
# Somebody who is logged in as the wrong one sees who that is, and can leave, on the page of the portal.
WAY_ON = '\n<p><a href="/.authproxy/userinfo">See who you are signed in as, or sign out</a></p>'
ADVICE = {
    401: "Sign in, or send a valid access token with the request.",
    403: "This is not open to you. If it should be, ask whoever runs the service for access.",
    404: "Check the address. If it is right, the service may not be published here.",
    429: "Wait a little, then try again.",
    502: "The service is published here, but it did not answer properly. Try again, or tell whoever runs it.",
    503: "Try again in a moment.",
    504: "The service is published here, but it did not answer in time. Try again, or tell whoever runs it.",
}
PAGE_HEADERS = (
    b"Content-Type: text/html; charset=utf-8\r\nContent-Security-Policy: default-src 'none'; style-src 'unsafe-inline'; "
    b"img-src data:; frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
)


class Answer:
    """An answer that is written, whole; `keep_alive` says that the client's connection may carry another request."""

    __slots__ = ("keep_alive", "status")

    def __init__(self, status: int, *, keep_alive: bool) -> None:
        self.status = status
        self.keep_alive = keep_alive


# What a step of the chain comes to: nothing yet, an answer, or one of the two once something was waited for.
Outcome = Answer | Coroutine[Any, Any, Answer | None] | None


def send(request: Request, data: bytes) -> None:
    """Write to the client without waiting.

    Raises:
        ConnectionResetError: it is gone.
    """
    transport = request.connection.transport
    if transport is None:
        raise ConnectionResetError("the client is gone")
    transport.write(data)


@lru_cache(maxsize=512)
def status_line(status: int, reason: bytes) -> bytes:
    """The first line of an answer."""
    return b"HTTP/1.1 %d %b\r\n" % (status, reason)


def persistence(exchange: Exchange, *, keep: bool) -> bytes:
    """What the client is told of the connection; one of HTTP/1.0 expects its end unless told otherwise."""
    if not keep:
        return b"Connection: close\r\n"
    return b"Connection: keep-alive\r\n" if exchange.http_version == "1.0" else b""


def phrase(status: int) -> str:
    """The standard reason phrase."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Refused"


def refuse(request: Request, refusal: Refusal) -> Answer:
    """Write the refusal; the connection is kept where the request has been read to its end."""
    exchange = request.exchange
    exchange.code = refusal.code
    exchange.reason = refusal.reason or exchange.reason
    page = wants_page(exchange)
    head = [
        PAGE_HEADERS if page else b"Content-Type: application/problem+json\r\n",
        b"Cache-Control: no-store\r\n",
        *(f"{n}: {v}\r\n".encode() for n, v in refusal.headers),
        limit_fields(exchange),
    ]
    body = _page(request, refusal) if page else _problem(exchange, refusal)
    return respond(request, refusal.status, head, body, close=refusal.close)


def respond(
    request: Request, status: int, head: Iterable[bytes], body: bytes, *, close: bool = False
) -> Answer:
    """Write an answer of our own: these header lines, and a body that HEAD does not get."""
    exchange = request.exchange
    exchange.status = status
    # What is left of a body is never parsed as a request, and the head may have been refused before its end was known.
    keep = request.content.is_eof() and not (
        close or request.head.upgrade or request.head.should_close
    )
    lines = [
        status_line(status, phrase(status).encode()),
        *head,
        b"Content-Length: %d\r\n" % len(body) if status != HTTPStatus.NOT_MODIFIED else b"",
        f"X-Request-Id: {exchange.request_id}\r\n".encode(),
        request.server.answer_fields,
        persistence(exchange, keep=keep),
        b"\r\n",
    ]
    if exchange.method != "HEAD":
        lines.append(body)
        exchange.bytes_out = len(body)
    send(request, b"".join(lines))
    return Answer(status, keep_alive=keep)


def _problem(exchange: Exchange, refusal: Refusal) -> bytes:
    # RFC 9457 section 3.1; the type is a name, there is nothing to fetch.
    members = {
        "type": f"urn:problem-type:authproxy:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "code": refusal.code,
        "request_id": exchange.request_id,
    }
    return json.dumps(members, separators=(",", ":")).encode()


def _page(request: Request, refusal: Refusal) -> bytes:
    exchange = request.exchange
    return PAGE.format(
        title=html.escape(refusal.title),
        status=refusal.status,
        phrase=phrase(refusal.status),
        advice=advice(refusal.status),
        way_on=WAY_ON if refusal.code == "forbidden" and _is_logged_in(request) else "",
        request_id=html.escape(exchange.request_id),
    ).encode()


def advice(status: int) -> str:
    """What a person may do about a refusal."""
    return ADVICE.get(status, "The request cannot be answered as it was sent.")


def _is_logged_in(request: Request) -> bool:
    """Is the caller somebody with a session, who could log in as another?"""
    identity, route = request.exchange.identity, request.exchange.route
    if identity is None or route is None:
        return False
    return identity.authenticator in request.runtime.engines[route].logins


def wants_page(exchange: Exchange) -> bool:
    """Is a person navigating here, as the browser says (Fetch Metadata) or, from older ones, the Accept field does?"""
    mode = exchange.headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return exchange.method in {"GET", "HEAD"} and "text/html" in exchange.headers.get("accept", "")
