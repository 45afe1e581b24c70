"""The outermost layer: makes the Exchange, turns a Refusal into an answer (here and nowhere else), writes the log.

The only `except` of the request path. An error that nobody foresaw is a 500 with a traceback in the error log, never an
allow.
"""

import asyncio
import logging
import os
import time

from aiohttp import web

from authproxy.model.address import LOOPBACK, parse_address
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.runtime import Runtime
from authproxy.web.answer import Answer, connection_of, refuse
from authproxy.web.compat import Handler, Request

log = logging.getLogger(__name__)


def begin(request: Request) -> Exchange:
    """The exchange of a request, with an id of its own and what is known of the peer."""
    random = os.urandom(24).hex()
    exchange = request.exchange = Exchange(random[:32], time.time(), time.monotonic())
    exchange.traceparent = f"00-{random[:32]}-{random[32:]}-01"
    exchange.listener = request.server.name
    exchange.scheme = "https" if request.server.tls else "http"
    peer = connection_of(request).peername
    if isinstance(peer, tuple):
        exchange.peer = exchange.client = parse_address(peer[0].partition("%")[0]) or LOOPBACK
    exchange.chain = (exchange.client,)
    return exchange


async def envelope(request: Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever comes of the request, and note it."""
    exchange = begin(request)
    runtime: Runtime = request.server.runtime
    try:
        return await handler(request)
    except Refusal as refusal:
        return answer(request, refusal)
    except (asyncio.CancelledError, ConnectionError):
        exchange.code = exchange.code or "client_gone"
        exchange.status = exchange.status or 499
        raise
    except Exception:
        log.exception("request %s failed", exchange.request_id)
        return answer(request, Refusal("internal_error", close=True))
    finally:
        runtime.access_log.write(exchange, time.monotonic() - exchange.started)


def answer(request: Request, refusal: Refusal) -> Answer:
    """The refusal as an answer; where another answer has begun, the client is shown that it was cut."""
    exchange = request.exchange
    if not exchange.status:
        exchange.admitted = exchange.admitted and refusal.code.startswith("upstream")
        return refuse(request, refusal)
    exchange.code, exchange.reason = refusal.code, refusal.reason
    connection_of(request).force_close()
    return Answer(exchange.status, keep_alive=False)


async def refuse_unparsed(request: Request, refusal: Refusal) -> web.StreamResponse:
    """What the parser refused is answered and noted like every other refusal."""

    async def refused(_request: Request) -> web.StreamResponse:
        raise refusal

    return await envelope(request, refused)
