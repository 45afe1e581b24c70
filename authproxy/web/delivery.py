"""The backend's answer on its way to the client: its head without what is hop-by-hop, its body as it comes."""

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.headers import HOP_BY_HOP, connection_options
from authproxy.rate_limits.step import limit_headers
from authproxy.runtime import Runtime
from authproxy.upstream.connection import Connection
from authproxy.upstream.head import AnswerHead
from authproxy.web.answer import Answer, connection_of, send, status_line
from authproxy.web.compat import Request

LAST_CHUNK = b"0\r\n\r\n"
_DROPPED = frozenset(name.encode() for name in HOP_BY_HOP) | {b"x-request-id"}
_PLAIN_NAMES: dict[bytes, bool] = {}
_NAMES_MOST = 4096
_T = TypeVar("_T")


async def deliver(
    request: Request, connection: Connection, answer: AnswerHead, runtime: Runtime, *, keep: bool
) -> Answer:
    """Write the answer's head and stream its body; the connection to the backend is released at its end.

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
    head = _head(exchange, answer, runtime, chunked=chunked, keep=keep)
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
        await _stream(request, connection, chunked=chunked, idle=runtime.idle_timeout(exchange))
    connection.release()
    return Answer(answer.status, keep_alive=keep)


async def _stream(request: Request, connection: Connection, *, chunked: bool, idle: float) -> None:
    exchange, client = request.exchange, connection_of(request)
    while True:
        if client.write_paused:
            await within(client.drained(), idle)
        data = await connection.read()
        if not data:
            break
        exchange.bytes_out += len(data)
        send(request, b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
    if chunked:
        send(request, LAST_CHUNK)


async def within(waiting: Awaitable[_T], seconds: float) -> _T:
    """Wait for the client at most this long.

    Raises:
        ConnectionResetError: it took nothing for so long; it is treated as gone.
    """
    try:
        async with asyncio.timeout(seconds):
            return await waiting
    except TimeoutError:
        raise ConnectionResetError("the client takes nothing") from None


def _head(
    exchange: Exchange, answer: AnswerHead, runtime: Runtime, *, chunked: bool, keep: bool
) -> bytes:
    parts = [status_line(answer.status, answer.reason)]
    parts += passed_fields(answer, runtime.session_cookie)
    if chunked:
        parts.append(b"Transfer-Encoding: chunked\r\n")
    parts.append(b"X-Request-Id: %b\r\n" % exchange.request_id.encode())
    if exchange.limit_lines:
        parts += [f"{name}: {value}\r\n".encode() for name, value in limit_headers(exchange)]
    if not keep:
        parts.append(b"Connection: close\r\n")
    elif exchange.http_version == "1.0":
        parts.append(b"Connection: keep-alive\r\n")
    parts.append(b"\r\n")
    return b"".join(parts)


def passed_fields(answer: AnswerHead, session_cookie: bytes) -> list[bytes]:
    """The backend's fields without hop-by-hop ones and without a cookie that would pass for our session."""
    fields = []
    options: list[bytes] = []
    for name, value in answer.headers:
        passes = _PLAIN_NAMES.get(name)
        if passes is None:
            passes = _learn(name)
        if passes:
            fields.append(b"%b: %b\r\n" % (name, value))
            continue
        lower = name.lower()
        if lower == b"connection":
            options.append(value)
        elif lower == b"set-cookie" and value.partition(b"=")[0].strip() != session_cookie:
            fields.append(b"%b: %b\r\n" % (name, value))
    if options:
        named = tuple(
            option + b":" for option in connection_options(options) - {b"close", b"keep-alive"}
        )
        fields = (
            [field for field in fields if not field.lower().startswith(named)] if named else fields
        )
    return fields


def _learn(name: bytes) -> bool:
    lower = name.lower()
    passes = lower not in _DROPPED and lower != b"set-cookie"
    if len(_PLAIN_NAMES) < _NAMES_MOST:
        _PLAIN_NAMES[name] = passes
    return passes
