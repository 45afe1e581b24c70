"""The load: connections that each send a request, wait for the whole answer, and send the next."""

import asyncio
from typing import cast


class Client(asyncio.Protocol):
    """One connection; `answered` is called with the head of each answer of 1 KiB."""

    def __init__(self, request: bytes, done: "Progress") -> None:
        self.request = request
        self.progress = done
        self.buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self.transport = cast("asyncio.Transport", transport)
        self.send()

    def send(self) -> None:
        """Send the next request, while there is one left."""
        if self.progress.left > 0:
            self.progress.left -= 1
            self.transport.write(self.request)
        else:
            self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Collect an answer; when it is whole, count it and go on."""
        self.buffer += data
        end = self.buffer.find(b"\r\n\r\n")
        if end < 0 or len(self.buffer) < end + 4 + 1024:
            return
        self.progress.count(self.buffer[:12] == b"HTTP/1.1 200")
        self.buffer = self.buffer[end + 4 + 1024 :]
        self.send()

    def connection_lost(self, _exc: Exception | None) -> None:
        """One connection fewer."""
        self.progress.closed()


class Progress:
    """How many requests are left, and how many answers were wrong."""

    def __init__(self, requests: int, connections: int) -> None:
        self.left = requests
        self.unanswered = requests
        self.wrong = 0
        self.open = connections
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def count(self, right: bool) -> None:
        """An answer came."""
        self.unanswered -= 1
        self.wrong += not right

    def closed(self) -> None:
        """A connection ended."""
        self.open -= 1
        if self.open == 0 and not self.over.done():
            self.over.set_result(None)


async def run(port: int, headers: list[str], requests: int, connections: int) -> int:
    """Send so many requests over so many connections; how many did not end in a 200."""
    head = "\r\n".join(["GET /orders/1 HTTP/1.1", "Host: app.test", *headers]) + "\r\n\r\n"
    loop, progress = asyncio.get_running_loop(), Progress(requests, connections)
    for _ in range(connections):
        await loop.create_connection(lambda: Client(head.encode(), progress), "127.0.0.1", port)
    async with asyncio.timeout(120):
        await progress.over
    return progress.wrong + progress.unanswered
