"""What is around the steps of the chain: makes the Exchange, turns a Refusal into an answer (here and nowhere else), writes the log.

The only `except` of the request path. An error that nobody foresaw is a 500 with a traceback in the error log, never an
allow.
"""

import asyncio
import logging
import os
import time
from collections.abc import Callable, Iterator, Sequence

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.state.store import StateUnavailable
from authproxy.web.answer import Answer, Outcome, refuse
from authproxy.web.compat import Request
from authproxy.web.portal.entry import to_login
from authproxy.web.portal.resend import offer_again

log = logging.getLogger(__name__)

Step = Callable[[Request], Outcome]


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
    if request.runtime.traces is not None:
        request.runtime.traces.tracer.begin(exchange)
    return exchange


def _random_ids() -> Iterator[str]:
    """48 random hex digits each; asked of the kernel by the hundred, as asking costs more than the digits."""
    while True:
        block = os.urandom(24 * 128).hex()
        for at in range(0, len(block), 48):
            yield block[at : at + 48]


_RANDOM = _random_ids()
os.register_at_fork(after_in_child=lambda: globals().update(_RANDOM=_random_ids()))


def failed(request: Request, error: BaseException) -> Answer:
    """What was raised, as an answer: the only place where a Refusal becomes one."""
    exchange = request.exchange
    if isinstance(error, asyncio.CancelledError | ConnectionError):
        exchange.code = exchange.code or "client_gone"
        exchange.status = exchange.status or 499
        return Answer(exchange.status, keep_alive=False)
    if isinstance(error, StateUnavailable):
        error = Refusal("state_unavailable", str(error)[:200])
    if not isinstance(error, Refusal):
        log.error("request %s failed", exchange.request_id, exc_info=error)
        error = Refusal("internal_error", close=True)
    try:
        return answer(request, error)
    except ConnectionError:  # there is nobody left to tell
        return Answer(exchange.status, keep_alive=False)


def end(ended: Sequence[tuple[Request, Answer]]) -> None:
    """Note requests that are answered, and let their connections go on."""
    now = time.monotonic()
    for request, _ in ended:
        try:
            request.runtime.access_log.write(request.exchange, now - request.exchange.started)
            if request.runtime.decisions is not None:
                request.runtime.decisions.write(request.exchange)
            if request.runtime.trail is not None:
                request.runtime.trail.keep(request.exchange)
        except Exception:  # whatever goes wrong with one is no matter of the others
            log.exception("request %s is not in the log", request.exchange.request_id)
    for request, _ in ended:
        try:
            if request.server.tally is not None:
                request.server.tally.count(request.exchange, now - request.exchange.started)
            if request.runtime.traces is not None:
                request.runtime.traces.tracer.end(request.exchange, now - request.exchange.started)
        except Exception:
            log.exception("request %s is not counted", request.exchange.request_id)
    for request, given in ended:
        try:
            request.connection.answered(request, keep=given.keep_alive)
        except Exception:
            log.exception("a connection failed")
            request.connection.force_close()


def answer(request: Request, refusal: Refusal) -> Answer:
    """The refusal as an answer; where another answer has begun, the client is shown that it was cut."""
    exchange = request.exchange
    if not exchange.status:
        exchange.admitted = exchange.admitted and refusal.code.startswith("upstream")
        sent_on = to_login(request, refusal) or offer_again(request, refusal)
        return sent_on or refuse(request, refusal)
    exchange.code, exchange.reason = refusal.code, refusal.reason
    connection = request.connection
    if exchange.http_version == "1.0":
        connection.reset()  # there the end of the connection is the end of a whole body
    connection.force_close()
    return Answer(exchange.status, keep_alive=False)


def refuse_unparsed(request: Request, refusal: Refusal) -> None:
    """What the parser refused is answered and noted like every other refusal."""
    begin(request)
    end([(request, failed(request, refusal))])
