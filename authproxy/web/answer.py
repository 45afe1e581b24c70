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
from authproxy.rate_limits.step import limit_headers
from authproxy.web.compat import Request

PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title><style>
:root{{color-scheme:light dark}}
body{{font:16px/1.5 system-ui,sans-serif;margin:0;min-height:100vh;display:grid;place-items:center;
background:light-dark(#f6f7f9,#14171c);color:light-dark(#1c2128,#e6e9ee)}}
main{{max-width:30rem;margin:1.5rem;padding:2rem 2.25rem;border-radius:12px;
background:light-dark(#fff,#1d2128);border:1px solid light-dark(#dfe3e8,#2e343d)}}
p.status{{margin:0;font-size:.875rem;font-weight:600;letter-spacing:.04em;color:light-dark(#57606a,#9aa4b2)}}
h1{{font-size:1.375rem;line-height:1.3;margin:.25rem 0 1rem}}
dl{{margin:1.5rem 0 0;font-size:.8125rem;color:light-dark(#57606a,#9aa4b2)}}
dt{{display:inline}}dd{{display:inline;margin:0;font-family:ui-monospace,monospace;overflow-wrap:anywhere}}
</style></head><body><main>
<p class="status">{status} {phrase}</p><h1>{title}</h1>
<p>{advice}</p>
<dl><dt>Request</dt> <dd>{request_id}</dd></dl>
</main></body></html>
"""
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
    b"frame-ancestors 'none'\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: no-referrer\r\n"
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
        *(f"{n}: {v}\r\n".encode() for n, v in (*refusal.headers, *limit_headers(exchange))),
    ]
    body = _page(exchange, refusal) if page else _problem(exchange, refusal)
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


def _page(exchange: Exchange, refusal: Refusal) -> bytes:
    return PAGE.format(
        title=html.escape(refusal.title),
        status=refusal.status,
        phrase=phrase(refusal.status),
        advice=advice(refusal.status),
        request_id=html.escape(exchange.request_id),
    ).encode()


def advice(status: int) -> str:
    """What a person may do about a refusal."""
    return ADVICE.get(status, "The request cannot be answered as it was sent.")


def wants_page(exchange: Exchange) -> bool:
    """Is a person navigating here, as the browser says (Fetch Metadata) or, from older ones, the Accept field does?"""
    mode = exchange.headers.get("sec-fetch-mode")
    if mode is not None:
        return mode == "navigate"
    return exchange.method in {"GET", "HEAD"} and "text/html" in exchange.headers.get("accept", "")
