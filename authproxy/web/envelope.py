"""The outermost layer: makes the Exchange, turns a Refusal into an answer (here and nowhere else), writes the log.

The only `except` of the request path. An error that nobody foresaw is a 500 with a traceback in the error log, never an
allow.
"""

import asyncio
import logging
import os
import time
from collections.abc import Iterator

from aiohttp import web

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.runtime import Runtime
from authproxy.state.store import StateUnavailable
from authproxy.web.answer import Answer, refuse
from authproxy.web.compat import Handler, Request
from authproxy.web.portal.entry import to_login

log = logging.getLogger(__name__)


def begin(request: Request) -> Exchange:
    """The exchange of a request, with an id of its own and what is known of the peer."""
    random = next(_RANDOM)
    exchange = request.exchange = Exchange(random[:32], time.time(), time.monotonic())
    exchange.traceparent = f"00-{random[:32]}-{random[32:]}-01"
    server = request.server
    exchange.listener = server.name
    if server.tls:
        exchange.scheme = "https"
    peer, text = request.connection.peer
    exchange.peer = exchange.client = peer
    exchange.client_text = text
    exchange.chain = (text,)
    return exchange


def _random_ids() -> Iterator[str]:
    """48 random hex digits each; asked of the kernel by the hundred, as asking costs more than the digits."""
    while True:
        block = os.urandom(24 * 128).hex()
        for at in range(0, len(block), 48):
            yield block[at : at + 48]


_RANDOM = _random_ids()
os.register_at_fork(after_in_child=lambda: globals().update(_RANDOM=_random_ids()))


async def envelope(request: Request, handler: Handler) -> web.StreamResponse:
    """Answer whatever comes of the request, and note it."""
    exchange = begin(request)
    runtime: Runtime = request.runtime
    traces = runtime.traces
    if traces is not None:
        traces.tracer.begin(exchange)
    try:
        return await handler(request)
    except Refusal as refusal:
        return answer(request, refusal)
    except StateUnavailable as error:
        return answer(request, Refusal("state_unavailable", str(error)[:200]))
    except (asyncio.CancelledError, ConnectionError):
        exchange.code = exchange.code or "client_gone"
        exchange.status = exchange.status or 499
        raise
    except Exception:
        log.exception("request %s failed", exchange.request_id)
        return answer(request, Refusal("internal_error", close=True))
    finally:
        seconds = time.monotonic() - exchange.started
        runtime.access_log.write(exchange, seconds)
        if request.server.tally is not None:
            request.server.tally.count(exchange, seconds)
        if traces is not None:
            traces.tracer.end(exchange, seconds)


def answer(request: Request, refusal: Refusal) -> Answer:
    """The refusal as an answer; where another answer has begun, the client is shown that it was cut."""
    exchange = request.exchange
    if not exchange.status:
        exchange.admitted = exchange.admitted and refusal.code.startswith("upstream")
        return to_login(request, refusal) or refuse(request, refusal)
    exchange.code, exchange.reason = refusal.code, refusal.reason
    connection = request.connection
    if exchange.http_version == "1.0":
        connection.reset()  # there the end of the connection is the end of a whole body
    connection.force_close()
    return Answer(exchange.status, keep_alive=False)


async def refuse_unparsed(request: Request, refusal: Refusal) -> web.StreamResponse:
    """What the parser refused is answered and noted like every other refusal."""

    async def refused(_request: Request) -> web.StreamResponse:
        raise refusal

    return await envelope(request, refused)
