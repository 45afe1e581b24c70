"""The backend's answer on its way to the client: its head without what is hop-by-hop, its body as it comes."""

from collections.abc import Coroutine
from functools import partial
from typing import Any

from authproxy.model.errors import Refusal
from authproxy.model.headers import HOP_BY_HOP, Learned, connection_options
from authproxy.rate_limits.step import limit_fields
from authproxy.runtime import Runtime
from authproxy.upstream.connection import Connection
from authproxy.upstream.head import AnswerHead
from authproxy.web.answer import Answer, persistence, send, status_line
from authproxy.web.compat import Request
from authproxy.web.streams import watched

LAST_CHUNK = b"0\r\n\r\n"
_HSTS = b"strict-transport-security:"
_DROPPED = frozenset(name.encode() for name in HOP_BY_HOP) | {b"x-request-id"}
_NEVER_NAMED = frozenset({b"close", b"keep-alive", b"content-length"})


def deliver(
    request: Request, connection: Connection, answer: AnswerHead, runtime: Runtime, *, keep: bool
) -> Answer | Coroutine[Any, Any, Answer]:
    """Write the answer's head and what is here of its body, and stream the rest where there is one.

    The connection to the backend is released at the answer's end.

    Raises:
        Refusal: the backend broke off, was silent for too long, or answered 101 to a request that asked for none.
        ConnectionError: the client is gone.
    """
    exchange = request.exchange
    if answer.status == 101:
        raise Refusal("upstream_invalid", "upgrade-unasked")
    keep = (
        keep
        and not exchange.upgrade
        and not request.head.should_close
        and not request.server.draining
    )
    chunked = answer.has_body and answer.length is None and exchange.http_version == "1.1"
    if answer.has_body and answer.length is None and not chunked:
        keep = False  # an HTTP/1.0 client learns the body's end from ours
    head = _head(request, answer, runtime, chunked=chunked, keep=keep)
    exchange.status = answer.status
    if not answer.has_body:
        send(request, head)
        connection.release()
        return Answer(answer.status, keep_alive=keep)
    body = connection.take()
    whole = connection.complete
    if whole:
        body += connection.take()
    exchange.bytes_out = len(body)
    if chunked and body:
        body = b"%x\r\n%b\r\n" % (len(body), body)
    send(request, head + body + (LAST_CHUNK if chunked and whole else b""))
    if not whole:
        return _rest(request, connection, answer, chunked=chunked, keep=keep)
    connection.release()
    return Answer(answer.status, keep_alive=keep)


async def _rest(
    request: Request, connection: Connection, answer: AnswerHead, *, chunked: bool, keep: bool
) -> Answer:
    request.connection.patience = request.runtime.idle_timeout(request.exchange)
    try:
        with watched(request, partial(_cut, request, connection), expires=is_event_stream(answer)):
            await _stream(request, connection, chunked=chunked)
    except BaseException:
        connection.abort()
        raise
    connection.release()
    return Answer(answer.status, keep_alive=keep)


def interim(request: Request, head: AnswerHead) -> None:
    """Pass a 1xx on, but for 100: that was ours to say, and we said it when the request was admitted."""
    if head.status == 100 or request.exchange.status or request.transport is None:
        return
    fields = passed_fields(head, request.runtime.own_cookies)
    # RFC 9110 section 8.6: a 1xx has no Content-Length; one of 0 is harmless until somebody believes it.
    kept = [field for field in fields if not field.lower().startswith(b"content-length:")]
    send(request, status_line(head.status, head.reason) + b"".join(kept) + b"\r\n")


def is_event_stream(answer: AnswerHead) -> bool:
    """Will this answer go on as long as both ends like (HTML Living Standard, server-sent events)?"""
    return any(
        name.lower() == b"content-type" and value.lower().startswith(b"text/event-stream")
        for name, value in answer.headers
    )


def _cut(request: Request, connection: Connection) -> None:
    """End an answer that must not outlive its identity; nobody shall take it for whole."""
    connection.abort()
    if request.connection.write_paused:
        request.connection.reset()  # it does not read: what waits for it would be waited for


async def _stream(request: Request, connection: Connection, *, chunked: bool) -> None:
    exchange, client = request.exchange, request.connection
    while True:
        if client.write_paused:
            await client.drained()
        data = await connection.read()
        if not data:
            break
        exchange.bytes_out += len(data)
        send(request, b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    if chunked:
        send(request, LAST_CHUNK)


def _head(
    request: Request, answer: AnswerHead, runtime: Runtime, *, chunked: bool, keep: bool
) -> bytes:
    exchange, own = request.exchange, request.server.answer_fields
    parts = [_repeated(answer, runtime.own_cookies, own)]
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    parts.append(b"X-Request-Id: %b\r\n" % exchange.request_id.encode())
    parts.append(limit_fields(exchange))
    parts.append(persistence(exchange, keep=keep))
    parts.append(b"\r\n")
    return b"".join(parts)


def _repeated(answer: AnswerHead, own_cookies: frozenset[bytes], own: bytes) -> bytes:
    """What is the same for the same head, ours of every answer with it: made once for a backend that repeats itself."""
    of, kept = (own_cookies, own), answer.memo
    if kept is None or kept[0] != of:
        fields = passed_fields(answer, own_cookies)
        if own:
            # RFC 6797 section 8.1: a browser believes the first, and two would be a riddle.
            fields = [field for field in fields if not field.lower().startswith(_HSTS)]
        line = status_line(answer.status, answer.reason)
        kept = answer.memo = of, b"".join([line, *fields, own])
    return kept[1]


def passed_fields(answer: AnswerHead, own_cookies: frozenset[bytes]) -> list[bytes]:
    """The backend's fields without hop-by-hop ones and without a cookie that would pass for our session."""
    fields = []
    options: list[bytes] = []
    passes = _PASSES
    for name, value in answer.headers:
        if passes(name):
            fields.append(b"%b: %b\r\n" % (name, value))
            continue
        lower = name.lower()
        if lower == b"connection":
            options.append(value)
        elif lower == b"set-cookie" and _cookie_name(value) not in own_cookies:
            fields.append(b"%b: %b\r\n" % (name, value))
    if options:
        # Never the field that frames the body: the client would wait for its end, or read the next answer as part of it.
        named = tuple(option + b":" for option in connection_options(options) - _NEVER_NAMED)
        fields = (
            [field for field in fields if not field.lower().startswith(named)] if named else fields
        )
    return fields


def _cookie_name(value: bytes) -> bytes:
    """The name under which a Set-Cookie comes back to us.

    A cookie without a name is sent back as its value alone: `=__Host-a=x` returns as `__Host-a=x` (CVE-2022-2860).
    """
    return value.lstrip(b" \t=").partition(b";")[0].partition(b"=")[0].strip()


def _is_plain(name: bytes) -> bool:
    lower = name.lower()
    return lower not in _DROPPED and lower != b"set-cookie"


_KNOWN = Learned(_is_plain)
_PASSES = _KNOWN.__getitem__
