"""WebSockets: tunnelled as raw bytes after a right 101, so extensions and subprotocols are between the two ends.

Frames are only followed (RFC 6455 section 5.2), so that a close frame of ours can be put between two of the backend's.
"""

import asyncio
import base64
import binascii
import hashlib
import time
from collections import deque

from authproxy.model.errors import Refusal
from authproxy.rate_limits.step import limit_fields
from authproxy.runtime import Runtime
from authproxy.upstream.connection import Connection, StaleConnection
from authproxy.upstream.head import AnswerHead
from authproxy.web.answer import Answer, send, status_line
from authproxy.web.compat import ClientConnection, Request
from authproxy.web.delivery import deliver, passed_fields
from authproxy.web.streams import watched

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3
HIGH_WATER = 256 << 10
GOING_AWAY = 1001
POLICY_VIOLATION = 1008  # the identity has ended
CLOSE_PATIENCE = 1.5  # seconds; a tunnel ends within 2 of the moment that it should


def is_websocket(request: Request) -> bool:
    """A WebSocket handshake as RFC 6455 section 4.1 has it; any other Upgrade is none."""
    exchange = request.exchange
    if exchange.upgrade != b"websocket" or exchange.method != "GET" or exchange.fields.has_body:
        return False
    if exchange.http_version != "1.1" or request.headers.getall("Sec-WebSocket-Version", []) != [
        "13"
    ]:
        return False
    keys = request.headers.getall("Sec-WebSocket-Key", [])
    try:
        return len(keys) == 1 and len(base64.b64decode(keys[0], validate=True)) == 16
    except (binascii.Error, ValueError):
        return False


def accept_for(key: str) -> bytes:
    """The Sec-WebSocket-Accept that answers this key."""
    return base64.b64encode(hashlib.sha1(key.encode() + GUID, usedforsecurity=False).digest())


async def open_tunnel(
    request: Request, connection: Connection, head: bytes, runtime: Runtime
) -> Answer:
    """Ask the backend, and carry bytes both ways until one side ends."""
    try:
        connection.begin(b"GET")
        request.exchange.sent_to, request.exchange.sent_at = connection.authority, time.monotonic()
        connection.write(head)
        connection.request_sent()
        try:
            answer = await connection.head()
        except StaleConnection:
            raise Refusal("upstream_invalid", "stale") from None
        if answer.status != 101:
            delivered = deliver(request, connection, answer, runtime, keep=False)
            return delivered if isinstance(delivered, Answer) else await delivered
        return await _carry(request, connection, answer, runtime)
    except BaseException:
        connection.abort()
        raise


def _check(request: Request, answer: AnswerHead) -> None:
    """Is it the 101 to this very handshake (CVE-2024-23326)?"""
    accepts = [v for name, v in answer.headers if name.lower() == b"sec-websocket-accept"]
    upgrades = [value.lower() for name, value in answer.headers if name.lower() == b"upgrade"]
    if upgrades != [b"websocket"] or accepts != [accept_for(request.headers["Sec-WebSocket-Key"])]:
        raise Refusal("upstream_invalid", "websocket-accept")


async def _carry(
    request: Request, connection: Connection, answer: AnswerHead, runtime: Runtime
) -> Answer:
    exchange, client = request.exchange, request.connection
    client.patience = runtime.idle_timeout(exchange)
    _check(request, answer)
    connection.tunnel()
    lines = [
        status_line(101, b"Switching Protocols"),
        b"Connection: Upgrade\r\nUpgrade: websocket\r\n",
    ]
    lines += passed_fields(answer, runtime.own_cookies)
    lines.append(limit_fields(exchange))
    lines.append(b"X-Request-Id: %b\r\n\r\n" % exchange.request_id.encode())
    send(request, b"".join(lines))
    exchange.status = 101
    inbound = Inbound(client)
    client.set_parser(inbound)  # type: ignore[arg-type]
    tunnel = Tunnel(request, connection, inbound)
    request.server.tunnels.add(tunnel)
    if request.server.draining:
        tunnel.end(
            GOING_AWAY
        )  # it was asked for before the drain, and answered after its beginning
    try:
        with watched(request, lambda: tunnel.end(POLICY_VIOLATION), expires=True) as stream:
            await tunnel.run()
        if stream is not None and stream.code:
            exchange.code, exchange.reason = stream.code, "stream"
    finally:
        request.server.tunnels.discard(tunnel)
        client.force_close()
    return Answer(101, keep_alive=False)


class Tunnel:
    """Two directions until one ends; `end(code)` closes it from our side."""

    def __init__(self, request: Request, connection: Connection, inbound: "Inbound") -> None:
        self._request = request
        self._connection = connection
        self._inbound = inbound
        self._frames = Frames()
        self._code = 0  # with which we end it; 0: we do not
        self._said = False  # the client was told so
        self._tasks: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        """Carry until either side ends; what the client said before it left still reaches the backend."""
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._to_backend()), loop.create_task(self._to_client())]
        try:
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._cut()
            # Either end went away, or was silent for too long: that is how tunnels end, and no error.
            try:
                await asyncio.gather(*self._tasks, return_exceptions=True)
            finally:  # also where the client's connection ends just now, which cancels us
                # Tasks hold us, and all that is ours: in a circle, they would wait for the collector, for hours on a quiet day.
                self._tasks.clear()
                if not self._shut_out:
                    self._connection.write(self._inbound.take())
                self._connection.close()

    def end(self, code: int) -> None:
        """Send a close frame as soon as the backend's frame is over; both sides then have a moment to part in peace."""
        if self._said:
            return
        self._code = code
        asyncio.get_running_loop().call_later(CLOSE_PATIENCE, self._cut)
        if self._frames.between:
            self._say_goodbye()

    @property
    def _shut_out(self) -> bool:
        """Is nothing more of the client wanted? On a drain its answer to our close frame is."""
        return self._code not in {0, GOING_AWAY}

    def _cut(self) -> None:
        for task in self._tasks:
            task.cancel()

    def _say_goodbye(self) -> None:
        self._said = True
        if self._request.transport is not None:
            send(self._request, b"\x88\x02" + self._code.to_bytes(2, "big"))

    async def _to_backend(self) -> None:
        exchange = self._request.exchange
        while data := await self._inbound.read():
            if self._shut_out:
                continue
            exchange.bytes_in += len(data)
            self._connection.write(data)
            await self._connection.drain()

    async def _to_client(self) -> None:
        exchange, client = self._request.exchange, self._request.connection
        while data := await self._connection.read():
            if self._said:
                continue  # RFC 6455 section 5.5.1: nothing follows a close frame
            if self._code and (end := self._frames.next_boundary(data)) is not None:
                exchange.bytes_out += end
                send(self._request, data[:end])
                self._say_goodbye()
                continue
            self._frames.follow(data)
            exchange.bytes_out += len(data)
            send(self._request, data)
            if client.write_paused:
                await client.drained()


class Inbound:
    """What aiohttp hands the client's bytes to after the upgrade; holds at most `HIGH_WATER` before it stops reading."""

    def __init__(self, client: ClientConnection) -> None:
        self._client = client
        self._pieces: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._paused = False
        self._waiter: asyncio.Future[None] | None = None

    def feed_data(self, data: bytes) -> tuple[bool, bytes]:
        """Called by aiohttp: more bytes."""
        self._pieces.append(data)
        self._held += len(data)
        if self._held > HIGH_WATER and not self._paused:
            self._paused = True
            self._client.pause_reading()
        self._wake()
        return False, b""

    def feed_eof(self) -> None:
        """Called by aiohttp: the client is gone."""
        self._ended = True
        self._wake()

    async def read(self) -> bytes:
        """Our side: the next bytes, b"" at the end."""
        while not self._pieces and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = (
                    None  # one that is cancelled keeps its traceback, and that this object
                )
        return self.take()

    def take(self) -> bytes:
        """What is here."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        self._held = 0
        if self._paused:
            self._paused = False
            self._client.resume_reading()
        return data

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class Frames:
    """Follows the backend's frames by their headers alone, to know where one ends."""

    __slots__ = ("_header", "_left")

    def __init__(self) -> None:
        self._header = b""
        self._left = 0

    @property
    def between(self) -> bool:
        """Is the last byte seen the last of a frame?"""
        return not self._left and not self._header

    def follow(self, data: bytes) -> None:
        """Take note of bytes that were passed on."""
        at = 0
        while at < len(data):
            at = self._advance(data, at)

    def next_boundary(self, data: bytes) -> int | None:
        """Where in these bytes a frame ends first; None where none does. Nothing is noted."""
        ahead = Frames()
        ahead._header, ahead._left = self._header, self._left
        at = 0
        while at < len(data):
            at = ahead._advance(data, at)
            if ahead.between:
                return at
        return None

    def _advance(self, data: bytes, at: int) -> int:
        if self._left:
            step = min(self._left, len(data) - at)
            self._left -= step
            return at + step
        needed = self._needed()
        step = min(needed - len(self._header), len(data) - at)
        self._header += data[at : at + step]
        if len(self._header) == self._needed():
            self._left = self._length()
            self._header = b""
        return at + step

    def _needed(self) -> int:
        """How long this frame's header is, as far as it is known (RFC 6455 section 5.2)."""
        if len(self._header) < 2:
            return 2
        second = self._header[1]
        return 2 + {126: 2, 127: 8}.get(second & 0x7F, 0) + (4 if second & 0x80 else 0)

    def _length(self) -> int:
        short = self._header[1] & 0x7F
        if short < 126:
            return short
        return int.from_bytes(self._header[2 : 4 if short == 126 else 10], "big")
