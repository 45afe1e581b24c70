"""Every semi-public hook of aiohttp that we use, but for what rests (resting.py), each with a contract test (tests/web/test_compat.py).

A low-level server whose connections are ours: they know how long a head has been arriving, count what is unfinished,
and answer what the parser refuses through the same envelope as everything else. No timer is made for a request;
a sweep over all connections looks at the clocks.
"""

import asyncio
import logging
import socket
import struct
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Protocol, cast

from aiohttp import http_parser, web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.tcp_helpers import tcp_keepalive
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo

from authproxy.authn.slots import cookies_of
from authproxy.config.schema import Bounds
from authproxy.model.address import Address, peer_address
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
from authproxy.model.headers import HeaderRules
from authproxy.telemetry.metrics import Metrics
from authproxy.web.resting import HEAD_END, REST, RestingHandler
from authproxy.web.unparsed import error_info, refusal_of

log = logging.getLogger(__name__)

# How long an answered connection goes on reading a body that nobody wants, so that the answer is not lost to a reset.
LINGER = 2.0
FRESH = 1.0  # seconds for a first request, also during a drain: the client does not know yet


class Service(web.Server):
    """What connections are served with, as far as they ask for it; `listener.Server` is the one that there is."""

    name: str
    tls: bool
    certified: bool = False  # clients are asked for certificates
    https_port: int | None = None  # where clients are sent to instead of being served
    answer_fields: bytes = b""  # what every answer says
    runtime: Any
    bounds: Bounds
    handler: "Handler"
    refuse_unparsed: "RefuseUnparsed"
    draining: bool
    tunnels: set[Any]
    streams: set[Any]
    tally: Metrics | None

    @property
    def full(self) -> bool:
        """Are there more connections than there may be?"""
        raise NotImplementedError


class Request(web.BaseRequest):
    """A request with what is ours beside it: the Exchange, and the server whose runtime serves it."""

    exchange: Exchange
    server: Service
    connection: "ClientConnection"
    runtime: Any  # the one in force when the request began, whatever a reload does meanwhile

    @property
    def head(self) -> RawRequestMessage:
        """What the parser made of the head; every step that needs more than the exchange reads it here."""
        return self._message

    @property
    def certificate(self) -> bytes | None:
        """The client's certificate (DER), where the handshake asked for one and verified it."""
        return self.connection.certificate

    @property
    def cookies(self) -> Mapping[str, str]:  # aiohttp's own reader splits at white space too
        """The cookies by their names, as browsers mean them; one that is there twice is none, as nobody knows which counts."""
        pairs = cookies_of(self.headers)
        counts = Counter(name for name, _ in pairs)
        return {name: value for name, value in pairs if counts[name] == 1}

    @property
    def target_uri(self) -> str:
        """Scheme, authority and path as sent, without the query (RFC 9110 section 7.1)."""
        x = self.exchange
        return f"{x.scheme}://{x.host_field}{x.raw_target.partition('?')[0]}"


class Abortable(Protocol):
    """What can be given up: the connection to a backend."""

    def abort(self) -> None:
        """End now; whoever waits for it is told."""


class Handler(Protocol):
    """Who answers requests, and calls `ClientConnection.answered` once for each."""

    def arrived(self, request: Request) -> None:
        """A request has come."""

    def answered(self, request: Request, step: Callable[[Request], Any]) -> None:
        """The backend that it was sent to has something to say; `step` is what is left to do."""


RefuseUnparsed = Callable[[Request, Refusal], None]


def require_c_parser() -> None:
    """Refuse to start on aiohttp's pure-Python parser, which lets through what the C one refuses (facts 0.4).

    Raises:
        RuntimeError: the C extension is not in use.
    """
    if http_parser.HttpRequestParser.__module__ != "aiohttp._http_parser":
        raise RuntimeError("aiohttp runs without its C parser; install a wheel for this platform")


class ClientConnection(RestingHandler):
    """One client connection."""

    __slots__ = (
        "_busy", "_head_bytes", "_head_since", "_idle_since", "_peer", "_retired", "_server", "_unsent",
        "_unsent_since", "_waits", "asked_name", "backend", "certificate", "kept", "patience",
    )  # fmt: skip

    def __init__(self, server: Service, **options: Any) -> None:
        super().__init__(server, **options)
        self._server = server
        self._head_since = 0.0  # when the first byte of an unfinished head came; 0: none has
        self._head_bytes = 0
        self._idle_since = self._loop.time()
        self._busy = False  # a request is being answered, or what is left of it read
        self.backend: Abortable | None = None  # whose answer the request waits for
        self._waits = False  # the sweep has seen it idle since `_idle_since`
        self._retired = False  # no request after the one that is under way
        self._peer: tuple[Address, str] | None = None
        # What the handshake came to, where clients are asked for certificates: theirs (DER), and the name they asked for.
        self.certificate: bytes | None = None
        self.asked_name: str | None = None
        # The last request's fields as they came, the rules that they were read by, and what they said; not while idle.
        self.kept: tuple[object, HeaderRules, Fields] | None = None
        self._unsent = 0  # bytes that waited to be sent at the last look
        self._unsent_since = 0.0
        # How long a client may take nothing, in seconds; an answer that is streamed brings its upstream's `idle`.
        self.patience = server.bounds.keepalive

    @property
    def peer(self) -> tuple[Address, str]:
        """The address at the other end, and its text; a Unix socket's peer is this machine."""
        assert self._peer is not None, "it is known from the first moment on"
        return self._peer

    def _knows_peer(self, transport: asyncio.BaseTransport) -> bool:
        """Find out whose the connection is, while that can be told."""
        if self._peer is None:
            name, sock = transport.get_extra_info("peername"), transport.get_extra_info("socket")
            unix = sock is not None and sock.family == socket.AF_UNIX
            address = peer_address(name) if isinstance(name, tuple) or unix else None
            if address is None:
                return False
            self.believe(address)
        return True

    def believe(self, address: Address) -> None:
        """Whoever has connected speaks for this address."""
        self._peer = address, str(address)

    def retire(self) -> None:
        """End after the request that is under way, or now where there is none."""
        self._retired = True
        if self._waiting and not self._head_since:
            self.force_close()

    def idle_at(self, now: float) -> bool:
        """Is no request under way, not even a part of one, nor a first one to be expected?"""
        fresh = not self._request_count and now - self._idle_since < FRESH
        return self._waiting and not self._head_since and not fresh

    @property
    def _waiting(self) -> bool:
        # True from the first moment on: a head may begin to arrive before the connection's task has run at all.
        return not self._busy and not self._messages

    @property
    def write_paused(self) -> bool:
        """Is more waiting to be sent than should be?"""
        return self._paused

    async def drained(self) -> None:
        """Wait until the client has taken enough of what was written; the sweep drops it after `patience`.

        Raises:
            ConnectionError: it went away.
        """
        await self._drain_helper()

    def reset(self) -> None:
        """End with a RST, which nobody takes for the end of a body; asyncio's own `abort` sends a FIN like any other."""
        if self.transport is not None:
            sock = self.transport.get_extra_info("socket")
            if sock is not None and sock.family != socket.AF_UNIX:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.transport.abort()

    def _take_next(self) -> None:
        """Begin with the next request, where one has come and none is being answered.

        In place of aiohttp's own loop, which makes a task and a writer for every request. Here a task is made where
        something else than the backend's answer has to be waited for, and none is left while the connection is idle.
        """
        if self._busy or not self._messages or self._force_close:
            return
        self._busy = True
        message, payload = self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused and len(self._messages) <= self._msg_queue_resume_size:
            self._resume_reading_if_drained()
        server = self._server
        if not isinstance(message, _ErrInfo) and message.url is None:
            # `CONNECT` without a target: the parser lets it through, and no request can be made of it.
            message = error_info(Refusal("bad_request", "parser", close=True))
        head = ERROR if isinstance(message, _ErrInfo) else message
        try:
            request = Request(head, payload, self, None, None, self._loop)  # type: ignore[arg-type]
        except ValueError:  # a target in absolute form whose host is none (`http://xn--/`)
            message = error_info(Refusal("bad_request", "parser", close=True))
            request = Request(ERROR, payload, self, None, None, self._loop)  # type: ignore[arg-type]
        request.server, request.runtime, request.connection = server, server.runtime, self
        self._current_request = request
        if isinstance(message, _ErrInfo):
            server.refuse_unparsed(request, refusal_of(message.exc, self.max_line_size))
        else:
            server.handler.arrived(request)

    def answered(self, request: Request, *, keep: bool) -> None:
        """The request is answered, whole: on to the next one, or to the end where the connection is not to be kept."""
        payload, self._current_request, self.backend = request.content, None, None
        if payload is not EMPTY_PAYLOAD and not payload.is_eof():
            self.work(self._read_rest(payload, keep=keep))
        elif request.head is ERROR:
            self.work(self._read_rest(payload, keep=False))
        elif keep and self._paused:
            # Or whoever pipelines and never reads fills our memory.
            self.work(self._go_on_drained())
        else:
            self._go_on(keep=keep)

    def work(self, waiting: Coroutine[Any, Any, None]) -> None:
        """Do what has to wait, in a task that ends with the connection."""
        task = self._task_handler = self._loop.create_task(waiting)
        task.add_done_callback(self._worked)

    def _worked(self, task: "asyncio.Task[None]") -> None:
        if self._task_handler is task:
            self._task_handler = None
        if not task.cancelled() and task.exception() is not None:
            # The envelope answers everything; a fault of its own ends one connection.
            log.error("a connection failed", exc_info=task.exception())
            self.force_close()

    def _go_on(self, *, keep: bool) -> None:
        if not keep or self._close or self._retired:
            self.force_close()
        else:
            self._busy = False
            self._take_next()

    async def _go_on_drained(self) -> None:
        with suppress(ConnectionError):
            await self.drained()
            self._go_on(keep=True)

    async def _read_rest(self, payload: StreamReader, *, keep: bool) -> None:
        await self._linger(payload, keep=keep)
        self._go_on(keep=keep and payload.is_eof())

    async def _linger(self, payload: StreamReader, *, keep: bool) -> None:
        """Read on what nobody wants for a while: a close with unread bytes would take the answer back (RFC 9112 section 9.6)."""
        if not keep and self.transport is not None and self.transport.can_write_eof():
            self.transport.write_eof()
        try:
            async with asyncio.timeout(LINGER):
                while not payload.is_eof() and not self._force_close:
                    await payload.readany()
                hurried = self._server.draining or self._server.full
                if not keep and not self._force_close and not hurried:
                    self._close = True  # `data_received` drops whatever comes
                    await self._loop.create_future()  # ended by the time, or by `connection_lost`
        except (TimeoutError, web.RequestPayloadError):
            return

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # What aiohttp's does, but for a task and a timer that each connection would have as long as it lives.
        BaseProtocol.connection_made(self, transport)
        tcp_keepalive(cast("asyncio.Transport", transport))
        self._server.connection_made(self, cast("asyncio.Transport", transport))
        if not self._knows_peer(transport):
            # It was reset before it was taken. What it sent is still here, and would come from nobody knows where.
            self.force_close()
            self.reset()
            return
        if self._server.certified:
            tls = transport.get_extra_info("ssl_object")
            # Resumed or not: OpenSSL keeps the certificate with the session.
            self.certificate = tls.getpeercert(binary_form=True)
            self.asked_name = tls.asked
        if self._server.full:
            self._refuse(Refusal("overloaded", close=True))

    def connection_lost(self, exc: BaseException | None) -> None:
        task, backend = self._task_handler, self.backend
        super().connection_lost(exc)
        if task is not None:
            # Not at once: a task that is cancelled before its first step would never get to what it has to clean up.
            self._loop.call_soon(task.cancel)
        if backend is not None:
            backend.abort()  # which tells whoever waits for its answer

    def data_received(self, data: bytes) -> None:
        """Parse; note when a head begins and how much of it there is while it is unfinished."""
        if self._parser is None:
            self.wake()
        RequestHandler.data_received(self, data)  # `super()` costs each request 80 ns
        self._between = data.endswith(HEAD_END)
        if self._messages:
            self._tell_reader()
            self._head_since, self._head_bytes = 0.0, 0
            self._waits = False
            self._take_next()
        elif data and self._waiting:
            if not self._head_since:
                self._head_since = self._loop.time()
            self._head_bytes += len(data)
            bounds = self._server.bounds
            most = bounds.header_bytes and bounds.header_bytes + (bounds.uri_bytes or 0) + 1024
            if most and self._head_bytes > most:
                self._refuse(Refusal("headers_too_large", close=True))

    def _tell_reader(self) -> None:
        """Where the parser gave up in the middle of a body, end the body: aiohttp leaves its reader waiting."""
        if not isinstance(self._messages[-1][0], _ErrInfo):
            return
        if len(self._messages) > 1:
            body = self._messages[-2][1]
        elif self._current_request is not None:
            body = self._current_request.content
        else:
            return
        if not body.is_eof():
            body.set_exception(web.RequestPayloadError("body"))

    def look(self, now: float, transport: asyncio.Transport) -> None:
        """Close what has been idle, refuse what has been sending its head, drop what takes nothing, for too long."""
        if self._paused or transport.is_closing():
            self._look_at_writing(now, transport)
        else:
            self._unsent = 0
        if not self._waiting:
            self._waits = False
            return
        bounds = self._server.bounds
        if self._head_since:
            if bounds.header_timeout and now - self._head_since > bounds.header_timeout:
                self._refuse(Refusal("request_timeout", close=True))
        elif not self._waits:
            self._waits, self._idle_since = True, now
            self.kept = None
            if not self._rested:
                self.rest(transport, now)
        else:
            # A connection that never sent a byte is given as long as a head may take.
            most = bounds.keepalive if self._request_count else bounds.header_timeout
            if most and now - self._idle_since > most:
                self.force_close()
            elif now - self._idle_since > REST:
                self.rest(transport, self._idle_since)

    def _look_at_writing(self, now: float, transport: asyncio.Transport) -> None:
        """A client that does not read keeps its connection, closed or not, for as long as it likes: it is dropped."""
        unsent = transport.get_write_buffer_size()
        if unsent != self._unsent:
            self._unsent, self._unsent_since = unsent, now
        elif unsent and self.patience and now - self._unsent_since > self.patience:
            transport.abort()

    def _refuse(self, refusal: Refusal) -> None:
        """Answer with a refusal as if the parser had refused, and take nothing more in."""
        self._head_since = 0.0
        self._messages.append((error_info(refusal), EMPTY_PAYLOAD))
        self._take_next()
