"""Many clients at once, and a backend that keeps up with them: an event loop in a thread of its own."""

import asyncio
import contextlib
import re
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")
Send = Callable[[int], Awaitable[tuple[int, bytes]]]
LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Background:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.writers: list[asyncio.StreamWriter] = []
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        """What comes of it, waited for."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def begin(self, work: Coroutine[Any, Any, T]) -> "Callable[[], T]":
        """Let it go on; the call that is returned waits for what comes of it."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        return lambda: future.result(60)

    def stop(self) -> None:
        """End all connections, the loop and its thread."""
        self.do(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(5)
        self.loop.close()

    async def link(self, port: int) -> "Link":
        """A new connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        self.writers.append(writer)
        return Link(reader, writer)

    async def _end(self) -> None:
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()
        for writer in self.writers:
            writer.transport.abort()
        await asyncio.sleep(0.02)


class QuickBackend:
    """Answers every GET with its name; `/wait/N/…` after N tenths of a second. Counts connections."""

    def __init__(self, background: Background, name: bytes = b"quick") -> None:
        self.connections = 0
        self._name = name
        self._background = background
        self._server = background.do(self._start())
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def _start(self) -> asyncio.Server:
        return await asyncio.start_server(self._serve, "127.0.0.1", 0)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._background.writers.append(writer)
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                path = head.split(b" ", 2)[1]
                if path.startswith(b"/wait/"):
                    await asyncio.sleep(int(path.split(b"/")[2]) / 10)
                writer.write(
                    b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b"
                    % (len(self._name), self._name)
                )
        writer.close()

    def stop(self) -> None:
        """Listen no more."""
        self._background.loop.call_soon_threadsafe(self._server.close)


@dataclass
class Link:
    """A client's connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def ask(self, path: str = "/", token: str = "") -> tuple[int, bytes]:
        """One request: the status, and the body."""
        field = f"Authorization: Bearer {token}\r\n" if token else ""
        self.writer.write(f"GET {path} HTTP/1.1\r\nHost: a.test\r\n{field}\r\n".encode())
        head = await self.reader.readuntil(b"\r\n\r\n")
        length = LENGTH.search(head)
        body = await self.reader.readexactly(int(length[1])) if length else b""
        return int(head[9:12]), body

    def close(self) -> None:
        """Hang up."""
        self.writer.close()


@dataclass
class Tally:
    """What became of many requests: their statuses, and those that got no answer."""

    statuses: Counter[int] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)
    stop: bool = False

    @property
    def served(self) -> int:
        """How many were answered."""
        return self.statuses.total()


async def hammer(
    background: Background,
    port: int,
    tally: Tally,
    clients: int,
    *,
    each: int = 1 << 60,
    path: str = "/",
    token: str = "",
    anew: bool = False,
) -> None:
    """`clients` at once, `each` requests on a connection (`anew`: each on one of its own), until `tally.stop`."""

    async def client() -> None:
        on = None if anew else await background.link(port)
        for _ in range(each):
            if tally.stop:
                break
            try:
                using = on or await background.link(port)
                status, _body = await using.ask(path, token)
                tally.statuses[status] += 1
                if on is None:
                    using.close()
            except (OSError, asyncio.IncompleteReadError) as error:
                tally.failed.append(repr(error))
                if not anew:
                    on = await background.link(port)
        if on is not None:
            on.close()

    await asyncio.gather(*(client() for _ in range(clients)))
