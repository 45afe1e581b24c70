"""Taking a request in: refuse what is not beyond doubt, find out who is at the other end, then which route it is for."""

import re

from aiohttp.http import HttpVersion10, HttpVersion11

from authproxy.model.address import parse_address, parse_forwarded, parse_x_forwarded_for, trace
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields, read_fields
from authproxy.model.host import parse_host
from authproxy.policy.decide import resolve
from authproxy.runtime import Runtime
from authproxy.web.answer import Outcome
from authproxy.web.compat import Request
from authproxy.web.endpoints import endpoint

REPEATED_MOST = 4096  # bytes of fields that a connection remembers
REQUEST_ID = re.compile(r"[A-Za-z0-9._:/+=@-]{1,128}")
# W3C Trace Context section 3.2; all-zero ids are invalid.
TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}")


def intake(request: Request) -> None:
    """Fill the exchange from the head, or refuse it."""
    exchange, runtime = request.exchange, request.runtime
    message = request.head
    exchange.method = message.method
    exchange.raw_target = message.path
    if message.version != HttpVersion11:
        _check_version(exchange, message.version)
    kept, raw = request.connection.kept, message.raw_headers
    if kept is not None and kept[0] == raw and kept[1] is runtime.header_rules:
        fields = kept[2]  # this client said it before, on this connection
    else:
        fields = _read(request, exchange, runtime)
    exchange.fields = fields
    exchange.host_field = fields.host
    # The parser may read no further request, whatever we make of the fields.
    exchange.upgrade = fields.upgrade or (b"unclear" if message.upgrade else None)
    if fields.told:
        _find_client(exchange, fields.told, runtime)
    exchange.host = parse_host(exchange.host_field)
    if request.server.certified:
        _check_name(fields.host, request.connection.asked_name)
    bound = runtime.config.bounds.uri_bytes
    if bound and len(exchange.raw_target) > bound:
        raise Refusal("uri_too_long", close=True)


def _read(request: Request, exchange: Exchange, runtime: Runtime) -> Fields:
    """What the fields say, kept with the connection where the next request can mean the same by them."""
    raw, rules = request.head.raw_headers, runtime.header_rules
    fields = read_fields(raw, rules)
    bound = runtime.config.bounds.header_bytes
    if bound and fields.size > bound:
        raise Refusal("headers_too_large", close=True)
    if not fields.host:
        raise Refusal("bad_request", "no-host", close=True)
    if fields.has_body or fields.expects_continue:
        _check_framing(exchange, fields, runtime)
    elif fields.size <= REPEATED_MOST and fields.repeatable:
        request.connection.kept = raw, rules, fields
    return fields


def routing(request: Request) -> Outcome:
    """Read the target and find the route; what is below our own prefix is answered here."""
    exchange, runtime = request.exchange, request.runtime
    route = resolve(runtime.table, exchange)
    if route is None:
        return endpoint(request)
    exchange.engine = runtime.engines[route]
    return None


def _check_version(exchange: Exchange, version: object) -> None:
    """Anything but HTTP/1.1: 1.0 is served, all else refused."""
    if version == HttpVersion10:
        exchange.http_version = "1.0"
        return
    # aiohttp's C parser serves HTTP/2.0 request lines, and takes a line without a version for HTTP/0.9.
    major = getattr(version, "major", 0)
    raise Refusal("version_not_supported" if major > 0 else "bad_request", "version", close=True)


def _check_name(field: str, asked: str | None) -> None:
    """The host must be the name of the handshake, whose certificates were asked for (RFC 9110 section 7.4, CVE-2025-23419).

    Who connects to an address asks for no name (RFC 6066 section 3), and so may name nothing but an address.
    """
    host = parse_host(field)
    if host != asked and (asked is not None or parse_address(host.strip("[]")) is None):
        raise Refusal("misdirected", "sni")


def _check_framing(exchange: Exchange, fields: Fields, runtime: Runtime) -> None:
    old = exchange.http_version == "1.0"
    if fields.chunked and (fields.content_length is not None or old):
        raise Refusal("bad_request", "framing", close=True)
    bound = runtime.config.bounds.body_bytes
    if bound and (fields.content_length or 0) > bound:
        raise Refusal("body_too_large", close=True)
    if old or not fields.has_body:
        fields.expects_continue = False  # RFC 9110 section 10.1.1: ignored


def _find_client(exchange: Exchange, told: list[tuple[bytes, bytes]], runtime: Runtime) -> None:
    """Believe a trusted peer, and only what the configuration names (CVE-2026-40575: open by default)."""
    if exchange.peer not in runtime.trusted:
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
    _keep_trace(exchange, said, runtime)


def _last(values: list[str] | tuple[()]) -> str:
    return values[-1].rpartition(",")[2].strip() if values else ""


def _keep_trace(exchange: Exchange, said: dict[bytes, list[str]], runtime: Runtime) -> None:
    request_id = said.get(b"x-request-id", [""])
    if len(request_id) == 1 and REQUEST_ID.fullmatch(request_id[0]):
        exchange.request_id = request_id[0]
    traceparent = said.get(b"traceparent", [""])
    if len(traceparent) == 1 and TRACEPARENT.fullmatch(traceparent[0]):
        if runtime.traces is not None:
            runtime.traces.tracer.adopt(exchange, traceparent[0])
        else:
            exchange.traceparent = traceparent[0]
        tracestate = ",".join(said.get(b"tracestate", ()))
        exchange.tracestate = tracestate if TRACESTATE.fullmatch(tracestate) else ""
