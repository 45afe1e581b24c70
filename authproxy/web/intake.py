"""Taking a request in: refuse what is not beyond doubt, find out who is at the other end, then which route it is for.

One pass over the header fields; each is passed on, dropped, or read by us, by its name alone.
"""

import re
from collections.abc import Callable

from aiohttp import web
from aiohttp.http import HttpVersion10, HttpVersion11

from authproxy.model.address import parse_forwarded, parse_x_forwarded_for, trace
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.headers import Kind, connection_options
from authproxy.model.host import parse_host
from authproxy.policy.decide import resolve
from authproxy.runtime import Runtime
from authproxy.web.compat import Handler, Request

PASS, TRUSTED, CONNECTION = Kind.PASS, Kind.TRUSTED, Kind.CONNECTION
# Far over any body, far under where parsers' counters wrap (aiohttp's C parser takes 2**64-1 for no body).
CONTENT_LENGTH_DIGITS = 15
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# W3C Trace Context section 3.2; all-zero ids are invalid.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


async def intake(request: Request, handler: Handler) -> web.StreamResponse:
    """Fill the exchange from the head, or refuse it."""
    exchange, runtime = request.exchange, request.runtime
    message = request.head
    exchange.method = message.method
    exchange.raw_target = message.path
    if message.version != HttpVersion11:
        _check_version(exchange, message.version)
    told = _read_fields(exchange, message.raw_headers, runtime)
    if message.upgrade and exchange.upgrade is None:
        exchange.upgrade = (
            b"unclear"  # the parser reads no further request, whatever we made of the fields
        )
    if exchange.has_body or exchange.expects_continue:
        _check_framing(exchange, runtime)
    if told:
        _find_client(exchange, told, runtime)
    exchange.host = parse_host(exchange.host_field)
    bound = runtime.config.bounds.uri_bytes
    if bound and len(exchange.raw_target) > bound:
        raise Refusal("uri_too_long", close=True)
    return await handler(request)


async def routing(request: Request, handler: Handler) -> web.StreamResponse:
    """Read the target and find the route."""
    resolve(request.runtime.table, request.exchange)
    return await handler(request)


def _check_version(exchange: Exchange, version: object) -> None:
    """Anything but HTTP/1.1: 1.0 is served, all else refused."""
    if version == HttpVersion10:
        exchange.http_version = "1.0"
        return
    # aiohttp's C parser serves HTTP/2.0 request lines, and takes a line without a version for HTTP/0.9.
    major = getattr(version, "major", 0)
    raise Refusal("version_not_supported" if major > 0 else "bad_request", "version", close=True)


def _read_fields(
    exchange: Exchange, fields: tuple[tuple[bytes, bytes], ...], runtime: Runtime
) -> list[tuple[bytes, bytes]]:
    """Sort the fields; what only a trusted proxy may say is returned."""
    kinds, lines = runtime.header_rules.kind, exchange.lines
    options: list[bytes] = []
    told: list[tuple[bytes, bytes]] = []
    size = 0
    for field in fields:
        name, value = field
        size += len(name) + len(value) + 4
        kind = kinds(name)
        if kind is PASS:
            lines.append(field)
        elif kind in _READERS:
            _READERS[kind](exchange, value)
        elif kind is TRUSTED:
            told.append(field)
        elif kind is CONNECTION:
            options.append(value)
        else:
            exchange.take_line(kind, field)
    bound = runtime.config.bounds.header_bytes
    if bound and size > bound:
        raise Refusal("headers_too_large", close=True)
    if not exchange.host_field:
        raise Refusal("bad_request", "no-host", close=True)
    if options or exchange.upgrade is not None:
        exchange.apply_connection(connection_options(options))
    return told


def _host(exchange: Exchange, value: bytes) -> None:
    if exchange.host_field:
        raise Refusal("bad_request", "host-twice", close=True)
    exchange.host_field = value.decode("latin-1")
    if not exchange.host_field:
        raise Refusal("bad_request", "no-host", close=True)


def _content_length(exchange: Exchange, value: bytes) -> None:
    if (
        exchange.content_length is not None
        or not value.isdigit()
        or len(value) > CONTENT_LENGTH_DIGITS
    ):
        raise Refusal("bad_request", "content-length", close=True)
    exchange.content_length = int(value)


def _transfer_encoding(exchange: Exchange, value: bytes) -> None:
    # RFC 9112 section 6.1: chunked is the only coding we read; others are for whoever can decode them.
    if exchange.chunked or value.lower() != b"chunked":
        raise Refusal("bad_request", "transfer-encoding", close=True)
    exchange.chunked = True


def _authorization(exchange: Exchange, value: bytes) -> None:
    if exchange.authorization is not None:
        raise Refusal("bad_request", "authorization-twice")
    exchange.authorization = value


def _cookie(exchange: Exchange, value: bytes) -> None:
    exchange.cookies.append(value)


def _upgrade(exchange: Exchange, value: bytes) -> None:
    exchange.upgrade = value.lower() if exchange.upgrade is None else b"several"


def _expect(exchange: Exchange, value: bytes) -> None:
    # RFC 9110 section 10.1.1; look-alikes are how Expect was used to desynchronise proxies.
    if value.lower() != b"100-continue":
        raise Refusal("bad_request", "expect", close=True)
    exchange.expects_continue = True


_READERS: dict[Kind, Callable[[Exchange, bytes], None]] = {
    Kind.HOST: _host,
    Kind.CONTENT_LENGTH: _content_length,
    Kind.TRANSFER_ENCODING: _transfer_encoding,
    Kind.AUTHORIZATION: _authorization,
    Kind.COOKIE: _cookie,
    Kind.UPGRADE: _upgrade,
    Kind.EXPECT: _expect,
}


def _check_framing(exchange: Exchange, runtime: Runtime) -> None:
    if exchange.chunked and (exchange.content_length is not None or exchange.http_version == "1.0"):
        raise Refusal("bad_request", "framing", close=True)
    bound = runtime.config.bounds.body_bytes
    if bound and (exchange.content_length or 0) > bound:
        raise Refusal("body_too_large", close=True)
    if exchange.expects_continue and (exchange.http_version == "1.0" or not exchange.has_body):
        exchange.expects_continue = False  # RFC 9110 section 10.1.1: ignored


def _find_client(exchange: Exchange, told: list[tuple[bytes, bytes]], runtime: Runtime) -> None:
    """Believe a trusted peer, and only what the configuration names (CVE-2026-40575: open by default)."""
    if not told or exchange.peer not in runtime.trusted:
        return
    said: dict[bytes, list[str]] = {}
    for name, value in told:
        said.setdefault(name.lower(), []).append(value.decode("latin-1"))
    proxies = runtime.config.trusted_proxies
    assert proxies is not None
    if proxies.header == "forwarded":
        origin = trace(exchange.peer, parse_forwarded(said.get(b"forwarded", ())), runtime.trusted)
        scheme, host = origin.scheme, origin.host
    else:
        origin = trace(
            exchange.peer, parse_x_forwarded_for(said.get(b"x-forwarded-for", ())), runtime.trusted
        )
        scheme = _last(said.get(b"x-forwarded-proto", ())).lower()
        told_host = said.get(b"x-forwarded-host")
        host = None if told_host is None else _last(told_host)
    exchange.client, exchange.client_text = origin.client, str(origin.client)
    exchange.chain = tuple(map(str, origin.chain))
    if scheme in {"http", "https"}:
        exchange.scheme = scheme
    if proxies.host and host is not None:
        exchange.host_field = host
    _keep_trace(exchange, said)


def _last(values: list[str] | tuple[()]) -> str:
    return values[-1].rpartition(",")[2].strip() if values else ""


def _keep_trace(exchange: Exchange, said: dict[bytes, list[str]]) -> None:
    request_id = said.get(b"x-request-id", [""])
    if len(request_id) == 1 and REQUEST_ID.fullmatch(request_id[0]):
        exchange.request_id = request_id[0]
    traceparent = said.get(b"traceparent", [""])
    if len(traceparent) == 1 and TRACEPARENT.fullmatch(traceparent[0]):
        exchange.traceparent = traceparent[0]
        tracestate = ",".join(said.get(b"tracestate", ()))
        exchange.tracestate = tracestate if TRACESTATE.fullmatch(tracestate) else ""
