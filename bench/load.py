"""The load: connections that each send a request, wait for the whole answer, and send the next."""

import asyncio
import multiprocessing
import re
import ssl
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import cast

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PIECE = b"x" * (256 << 10)
PATIENCE = 240.0  # seconds that an order may take


@dataclass(frozen=True)
class Order:
    """So many connections that send so many requests each, taking turns with a list; what is right is the status."""

    port: int
    requests: Sequence[bytes]
    each: int
    connections: int = 32
    status: int = 200
    authority: Path | None = None  # TLS, and whom to trust
    body: int = 0  # bytes that follow each request
    opening: bytes = b""  # the handshake of a WebSocket; the requests are its messages then

    @property
    def count(self) -> int:
        """How many requests there are in all."""
        return self.each * self.connections


class Progress:
    """How many answers are still to come, and how many were wrong; `over` when none will come any more."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.unanswered, self.open = order.count, order.connections
        self.wrong = 0
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def answered(self, right: bool) -> None:
        """A whole answer came."""
        self.unanswered -= 1
        self.wrong += not right
        if self.unanswered == 0:
            self._end()

    def closed(self) -> None:
        """A connection ended; what it had not got an answer to stays unanswered."""
        self.open -= 1
        if self.open == 0:
            self._end()

    def _end(self) -> None:
        if not self.over.done():
            self.over.set_result(None)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, progress: Progress, number: int) -> None:
        self.progress, self.order = progress, progress.order
        self.next = number * self.order.each
        self.last = self.next + self.order.each
        self.status = b"HTTP/1.1 %d" % self.order.status
        self.buffer, self.more = b"", -1
        self.body, self.paused = 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.send()

    def send(self) -> None:
        """Send the next request and its body, if there is one left."""
        if self.next == self.last:
            return
        self.buffer, self.more = b"", -1
        self.transport.write(self.order.requests[self.next % len(self.order.requests)])
        self.next += 1
        self.body = self.order.body
        self.resume_writing()

    def pause_writing(self) -> None:
        """The proxy is slower: wait."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on with a body."""
        self.paused = False
        while self.body > 0 and not self.paused and not self.transport.is_closing():
            piece = PIECE if self.body >= len(PIECE) else PIECE[: self.body]
            self.body -= len(piece)
            self.transport.write(piece)

    def data_received(self, data: bytes) -> None:
        """Count an answer's bytes; when it is whole, go on."""
        if self.more >= 0:
            self.more -= len(data)
        else:
            self.buffer += data
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self.buffer, 0, end)
            self.more = (int(length[1]) if length else 0) - (len(self.buffer) - end - 4)
        if self.more == 0:
            self.progress.answered(self.buffer.startswith(self.status))
            self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """One connection fewer."""
        self.progress.closed()


class Talker(Client):
    """A WebSocket whose messages come back, without the four bytes of their mask."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Shake hands first."""
        self.transport = cast("asyncio.Transport", transport)
        self.transport.write(self.order.opening)

    def data_received(self, data: bytes) -> None:
        """Send the next message when the last one is back."""
        self.buffer += data
        if self.next % self.order.each == 0 and self.next != self.last:  # before the first message
            if b"\r\n\r\n" in self.buffer and self.buffer.startswith(b"HTTP/1.1 101"):
                self.send()
        elif len(self.buffer) == len(self.order.requests[0]) - 4:
            self.progress.answered(True)
            self.send()


def context(authority: Path | None) -> ssl.SSLContext | None:
    """TLS 1.3 towards a server whom this authority knows."""
    if authority is None:
        return None
    made = ssl.create_default_context(cafile=str(authority))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


async def carry_out(order: Order, then: Callable[[], None] | None = None) -> int:
    """Send it all; how many requests did not get the answer that is expected.

    `then` is called when all is answered, with the connections still open.
    """
    loop, progress, tls = asyncio.get_running_loop(), Progress(order), context(order.authority)
    name = "app.example.test" if tls else None
    kind = Talker if order.opening else Client
    clients = [kind(progress, number) for number in range(order.connections)]
    for client in clients:
        await loop.create_connection(
            partial(lambda made: made, client),
            "127.0.0.1",
            order.port,
            ssl=tls,
            server_hostname=name,
        )
    async with asyncio.timeout(PATIENCE):
        await progress.over
    if then is not None:
        then()
    for client in clients:
        client.transport.close()
    return progress.wrong + progress.unanswered


def run(order: Order, then: Callable[[], None] | None = None) -> int:
    """The same, on a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(carry_out(order, then))


def run_apart(order: Order, processes: int) -> int:
    """The same, the connections shared out to several processes."""
    share = replace(order, connections=order.connections // processes)
    # Forked from a process without threads or a running loop: no time goes into starting Python.
    with ProcessPoolExecutor(processes, multiprocessing.get_context("fork")) as pool:
        return sum(pool.map(run, [share] * processes))
