"""Backends that the tests play: raw servers that say exactly what they are told, and a transport without a network."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.errors import Refusal
from authproxy.upstream.connection import Connection, Timeouts
from authproxy.upstream.dial import Server
from authproxy.upstream.head import AnswerHead
from authproxy.upstream.pool import Pool

OK = b"HTTP/1.1 200 OK\r\n"
HELLO = OK + b"Content-Length: 5\r\n\r\nhello"
REQUEST = b"GET / HTTP/1.1\r\nHost: backend.test\r\n\r\n"
QUICK = Timeouts(connect=1.0, response=1.0, idle=1.0)

Script = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def answering(*answers: bytes) -> Script:
    """Answers each request without a body with the next of these, then waits for the end."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for answer in answers:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(answer)
        await reader.read()

    return script


def closing(answer: bytes) -> Script:
    """Answers one request and closes."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    return script


class Backend:
    """A raw server; `connections` counts how many came."""

    def __init__(self, *scripts: Script) -> None:
        self._scripts = scripts  # of the first, second… connection; the last serves all others
        self.connections = 0
        self.server = Server("http")
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        script = self._scripts[min(self.connections, len(self._scripts) - 1)]
        self.connections += 1
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                await script(reader, writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    async def end(self) -> None:
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def backend(
    *scripts: Script, tls: ssl.SSLContext | None = None, path: Path | None = None
) -> AsyncIterator[Backend]:
    """A backend on loopback, or on a unix socket, that plays these scripts."""
    it = Backend(*scripts)
    if path is not None:
        listener = await asyncio.start_unix_server(it.serve, path)
        it.server = Server("unix", path=str(path))
    else:
        listener = await asyncio.start_server(it.serve, "127.0.0.1", 0, ssl=tls)
        port = listener.sockets[0].getsockname()[1]
        it.server = Server("https" if tls else "http", "127.0.0.1", port)
    try:
        yield it
    finally:
        listener.close()
        await it.end()
        await asyncio.sleep(0)


@asynccontextmanager
async def pool_to(
    *servers: Server, timeouts: Timeouts = QUICK, most_idle: int = 128
) -> AsyncIterator[Pool]:
    """A pool to these servers, closed in the end."""
    pool = Pool(servers, timeouts, most_idle=most_idle)
    try:
        yield pool
    finally:
        await pool.close()


@asynccontextmanager
async def connected(script: Script, timeouts: Timeouts = QUICK) -> AsyncIterator[Connection]:
    """One fresh connection to a backend that plays this script."""
    async with backend(script) as behind, pool_to(behind.server, timeouts=timeouts) as pool:
        connection = await pool.connect()
        try:
            yield connection
        finally:
            connection.abort()


def ask(connection: Connection, method: bytes = b"GET") -> None:
    """Send a whole request without a body."""
    connection.begin(method)
    connection.write(REQUEST)
    connection.request_sent()


async def read_all(connection: Connection) -> bytes:
    """The whole body."""
    body = b""
    while piece := await connection.read():
        body += piece
    return body


async def exchange(pool: Pool, method: bytes = b"GET") -> tuple[AnswerHead, bytes]:
    """One whole exchange over a pooled connection or a fresh one."""
    connection = pool.idle() or await pool.connect()
    ask(connection, method)
    try:
        head = await connection.head()
        return head, await read_all(connection)
    finally:
        connection.release()


async def until(condition: Callable[[], bool], within: float = 2.0) -> None:
    """Wait for what other tasks bring about."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # the code under test has no event for it
            await asyncio.sleep(0.005)


class NoNetwork(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.closed = False
        self.reading = True

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += bytes(data)

    def get_write_buffer_size(self) -> int:
        return len(self.written)

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Shelf:
    """A pool that keeps everything it is given."""

    def __init__(self) -> None:
        self.kept: list[Connection] = []
        self.hints: list[float | None] = []

    def keep(self, connection: Connection, hint: float | None) -> bool:
        self.kept.append(connection)
        self.hints.append(hint)
        return True

    def forget(self, connection: Connection) -> None:
        if connection in self.kept:
            self.kept.remove(connection)


def unplugged(
    timeouts: Timeouts = QUICK, header_bytes: int = 65536, header_fields: int = 256
) -> tuple[Connection, NoNetwork, Shelf]:
    """A connection without a network, its transport and its pool; needs a running loop."""
    shelf, transport = Shelf(), NoNetwork()
    connection = Connection(shelf, timeouts, header_bytes=header_bytes, header_fields=header_fields)
    connection.connection_made(transport)
    return connection, transport, shelf


def cut(data: bytes, at: list[int]) -> Iterator[bytes]:
    """The data in pieces; none is empty."""
    edges = sorted({0, len(data), *(edge % (len(data) + 1) for edge in at)})
    for start, end in pairwise(edges):
        yield data[start:end]


@contextmanager
def no_complaints(loop: asyncio.AbstractEventLoop) -> Iterator[None]:
    """Fails when anything escaped a callback in here."""
    complaints: list[dict[str, object]] = []
    loop.set_exception_handler(lambda _loop, context: complaints.append(context))
    try:
        yield
    finally:
        loop.set_exception_handler(None)
    assert not complaints


async def refused(work: Coroutine[Any, Any, object]) -> tuple[str, str]:
    """The code and reason with which the work was refused."""
    with pytest.raises(Refusal) as refusal:
        await work
    return refusal.value.code, refusal.value.reason


async def end_of(task: asyncio.Task[Any]) -> None:
    """Whatever the task ends with."""
    await task
