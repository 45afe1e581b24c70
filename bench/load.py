"""The load: connections that each send a request, wait for the whole answer, and send the next."""

import asyncio
import re
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import uvloop

LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
PIECE = b"x" * (256 << 10)
PATIENCE = 240.0  # seconds that an order may take


@dataclass(frozen=True)
class Order:
    """So many requests, in turn from a list, over so many connections; what is right is the status alone."""

    port: int
    requests: Sequence[bytes]
    count: int
    connections: int = 32
    status: int = 200
    authority: Path | None = None  # TLS, and whom to trust
    body: int = 0  # bytes that follow each request


class Progress:
    """How many requests are left, and how many answers were wrong."""

    def __init__(self, order: Order) -> None:
        self.order = order
        self.left = self.unanswered = order.count
        self.wrong = 0
        self.open = order.connections
        self.expected = b"HTTP/1.1 %d" % order.status
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def next(self) -> bytes | None:
        """The next request, while there is one left."""
        if self.left == 0:
            return None
        self.left -= 1
        return self.order.requests[self.left % len(self.order.requests)]

    def answered(self, head: bytes) -> None:
        """A whole answer came."""
        self.unanswered -= 1
        self.wrong += not head.startswith(self.expected)

    def closed(self) -> None:
        """A connection ended."""
        self.open -= 1
        if self.open == 0 and not self.over.done():
            self.over.set_result(None)


class Client(asyncio.Protocol):
    """One connection."""

    def __init__(self, progress: Progress) -> None:
        self.progress = progress
        self.head, self.more = b"", 0
        self.body, self.paused = 0, False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        """Send the next request and its body."""
        request = self.progress.next()
        if request is None:
            self.transport.close()
            return
        self.head, self.more = b"", -1
        self.transport.write(request)
        self.body = self.progress.order.body
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
            self.head += data
            end = self.head.find(b"\r\n\r\n")
            if end < 0:
                return
            length = LENGTH.search(self.head, 0, end)
            self.more = (int(length[1]) if length else 0) - (len(self.head) - end - 4)
        if self.more == 0:
            self.progress.answered(self.head)
            self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """One connection fewer; what it had not got an answer to stays unanswered."""
        self.progress.closed()


def context(authority: Path | None) -> ssl.SSLContext | None:
    """TLS 1.3 towards a server whom this authority knows."""
    if authority is None:
        return None
    made = ssl.create_default_context(cafile=str(authority))
    made.minimum_version = ssl.TLSVersion.TLSv1_3
    return made


async def carry_out(order: Order) -> int:
    """Send it all; how many requests did not get the answer that is expected."""
    loop, progress, tls = asyncio.get_running_loop(), Progress(order), context(order.authority)
    for _ in range(order.connections):
        await loop.create_connection(
            lambda: Client(progress),
            "127.0.0.1",
            order.port,
            ssl=tls,
            server_hostname="app.example.test" if tls else None,
        )
    async with asyncio.timeout(PATIENCE):
        await progress.over
    return progress.wrong + progress.unanswered


def run(order: Order) -> int:
    """The same, on a loop of its own."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(carry_out(order))
