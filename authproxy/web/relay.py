"""The end of the chain: the request to the backend, its answer to the client, both as streams with back-pressure.

A small answer that is already here is one write; nothing is buffered beyond what flow control allows. The client's
leaving ends the backend's work at once, the backend's leaving shows the client a body that is cut.
"""

import asyncio
import time
from functools import partial

from aiohttp import web
from aiohttp.streams import StreamReader

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.runtime import Runtime
from authproxy.upstream.connection import Connection, StaleConnection
from authproxy.upstream.pool import Pool
from authproxy.web.answer import Answer, Outcome, send
from authproxy.web.compat import Request
from authproxy.web.delivery import deliver, interim
from authproxy.web.streams import watched
from authproxy.web.tunnel import is_websocket, open_tunnel

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LAST_CHUNK = b"0\r\n\r\n"
# RFC 9110 section 9.2.2: may be sent again when nothing says that it was not processed.
IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})


def relay(request: Request) -> Outcome:
    """Forward the request, and stream its answer back."""
    exchange = request.exchange
    runtime: Runtime = request.runtime
    engine = exchange.engine
    pool = runtime.pools[engine.upstream]
    websocket = is_websocket(request)
    head = engine.outbound.head(exchange, websocket=websocket)
    if websocket:
        return _tunnel(request, pool, head)
    if exchange.fields.has_body or exchange.once is not None:
        return _with_body(request, pool, head, runtime)
    if request.connection.transport is None:
        raise ConnectionResetError("the client is gone")
    errand = Errand(request, pool, head)
    connection = pool.idle()
    if connection is None:
        return errand.run_afresh()
    errand.run(connection)
    return None


async def _tunnel(request: Request, pool: Pool, head: bytes) -> Answer:
    # Never a connection that waited: it could end as we write, and the handshake is sent only once.
    return await open_tunnel(request, await pool.connect(), head, request.runtime)


class Errand:
    """A request without a body, on its way to the backend and back: no task waits for the answer."""

    __slots__ = ("_connection", "_head", "_pool", "_request")

    def __init__(self, request: Request, pool: Pool, head: bytes) -> None:
        self._request = request
        self._pool = pool
        self._head = head

    def run(self, connection: Connection) -> None:
        """Send it; it goes on by itself when the answer is there, or none will come."""
        request = self._request
        request.connection.backend = self._connection = connection
        _begin(request, connection)
        connection.write(self._head)
        connection.request_sent()
        connection.call_when_answered(self._answered)

    async def run_afresh(self) -> None:
        """Send it on a connection of its own."""
        connection = await self._pool.connect()
        if self._request.connection.transport is None:
            connection.abort()
            raise ConnectionResetError("the client is gone")
        self.run(connection)

    def _answered(self) -> None:
        self._request.connection.backend = None
        self._request.server.handler.answered(self._request, self._deliver)

    def _deliver(self, request: Request) -> Outcome:
        connection = self._connection
        try:
            if request.connection.transport is None:
                raise ConnectionResetError("the client is gone")
            answer = connection.answer()
            request.exchange.upstream_seconds = time.monotonic() - request.exchange.sent_at
            return deliver(request, connection, answer, request.runtime, keep=True)
        except StaleConnection:
            # It was closed while it waited for us: safe to try again, once, on a fresh one.
            if request.exchange.method not in IDEMPOTENT:
                raise Refusal("upstream_invalid", "stale") from None
            return self.run_afresh()
        except BaseException:
            connection.abort()
            raise


def _begin(request: Request, connection: Connection) -> None:
    exchange = request.exchange
    connection.begin(exchange.method.encode())
    exchange.sent_to, exchange.sent_at = connection.authority, time.monotonic()
    if exchange.http_version == "1.1":
        # RFC 9110 section 15.2: 1xx only to those who can have heard of them.
        connection.on_interim = partial(interim, request)


async def _with_body(request: Request, pool: Pool, head: bytes, runtime: Runtime) -> Answer:
    connection = (pool.idle() if request.exchange.once is None else None) or await pool.connect()
    upload = None
    try:
        if request.exchange.once is not None:
            # On a connection that was just made: nothing is spent for a backend that is away.
            await request.exchange.once()
        _begin(request, connection)
        connection.write(head)
        upload = asyncio.get_running_loop().create_task(_upload(request, connection, runtime))
        upload.add_done_callback(lambda task: _upload_ended(task, connection))
        if request.content.is_eof():
            answer = await connection.head()
        else:  # a body that goes on is a stream
            with watched(request, connection.abort):
                answer = await connection.head()
        request.exchange.upstream_seconds = time.monotonic() - request.exchange.sent_at
        # An answer before the request's end is passed on at once; the connection cannot be kept then.
        delivered = deliver(request, connection, answer, runtime, keep=upload.done())
        return delivered if isinstance(delivered, Answer) else await delivered
    except (Refusal, StaleConnection) as failure:
        connection.abort()
        if upload is not None:
            _raise_upload_error(upload)  # that is why the connection to the backend was dropped
        if isinstance(failure, StaleConnection):
            raise Refusal("upstream_invalid", "stale") from None
        raise
    except BaseException:
        connection.abort()
        raise
    finally:
        if upload is not None and not upload.done():
            upload.cancel()
            # Two cannot wait for one body: what is left of it is read by whoever closes the connection.
            await asyncio.wait((upload,))


def _upload_ended(task: "asyncio.Task[None]", connection: Connection) -> None:
    if not task.cancelled() and task.exception() is not None:
        connection.abort()  # wakes whoever waits for the answer


def _raise_upload_error(upload: "asyncio.Task[None]") -> None:
    if upload.done() and not upload.cancelled():
        error = upload.exception()
        try:
            if isinstance(error, Refusal):
                raise error
            if error is not None:
                raise ConnectionResetError("the client is gone") from error
        finally:
            del error  # its traceback holds this frame


async def _upload(request: Request, connection: Connection, runtime: Runtime) -> None:
    """Pass the body on as it comes, at least at `bounds.body_rate`, at most `bounds.body_bytes`."""
    exchange, content = request.exchange, request.content
    if exchange.fields.expects_continue:
        send(request, CONTINUE)  # RFC 9110 section 10.1.1: only now, when the request is admitted
    bounds = runtime.config.bounds
    pace = _Pace(bounds.body_rate_bytes, runtime.idle_timeout(exchange))
    while True:
        data = await pace.read(content, exchange)
        if not data:
            break
        exchange.bytes_in += len(data)
        if bounds.body_bytes and exchange.bytes_in > bounds.body_bytes:
            raise Refusal("body_too_large", close=True)
        connection.write(b"%x\r\n%b\r\n" % (len(data), data) if exchange.fields.chunked else data)
        await connection.drain()
    if exchange.fields.chunked:
        connection.write(
            LAST_CHUNK
        )  # trailers are dropped: an identity header could hide there (CVE-2026-22815)
    connection.request_sent()


class _Pace:
    """Sees to it that a body comes at some rate: `rate` bytes a second (0: none), and never `idle` seconds of silence."""

    GRACE = 5.0

    def __init__(self, rate: int, idle: float) -> None:
        self._rate = rate
        self._idle = idle
        self._waited = 0.0

    async def read(self, content: StreamReader, exchange: Exchange) -> bytes:
        """The next piece.

        Raises:
            Refusal: `request_timeout`.
        """
        if content.at_eof():
            return b""
        loop = asyncio.get_running_loop()
        # Only the time that we waited for the client counts; a slow backend is not its fault.
        allowance = (
            self.GRACE + exchange.bytes_in / self._rate - self._waited if self._rate else self._idle
        )
        began = loop.time()
        try:
            async with asyncio.timeout(min(allowance, self._idle)):
                return await content.readany()
        except TimeoutError:
            raise Refusal("request_timeout", "body", close=True) from None
        except web.RequestPayloadError:
            raise Refusal("bad_request", "body", close=True) from None
        finally:
            self._waited += loop.time() - began
