"""Both ends of the wire, raw: what a client sends and gets, and a backend that says exactly what it is told.

Nothing here knows the proxy; a message is read by its framing and by nothing else, so that a wrong one shows.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
Headers = Mapping[str, str] | Sequence[tuple[str, str]]
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
PATIENCE = 5.0  # seconds for what should take milliseconds


LINE_MOST = 1 << 20


@dataclass(slots=True)
class Message:
    """A request as the backend got it, or an answer as the client did: the raw head, and the body without framing."""

    head: bytes
    body: bytes = b""
    connection: int = 0  # the how manieth it came on

    @property
    def start(self) -> str:
        """The first line."""
        return self.head.partition(b"\r\n")[0].decode("latin-1")

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The fields in order, names in lower case."""
        rows = self.head.decode("latin-1").split("\r\n")[1:]
        pairs = (row.partition(":") for row in rows if row)
        return [(name.lower(), value.strip()) for name, _, value in pairs]

    def all(self, name: str) -> list[str]:
        """Every value of a field."""
        return [value for found, value in self.lines if found == name.lower()]

    def field(self, name: str) -> str | None:
        """The value of a field that is there at most once."""
        values = self.all(name)
        assert len(values) < 2, f"{name} is there {len(values)} times"
        return values[0] if values else None


@dataclass(slots=True)
class Answer(Message):
    """What the client got; `whole` says that it ended where its framing says."""

    whole: bool = True
    interims: list[Message] = field(default_factory=list)
    seen: list[Message] = field(default_factory=list)  # what the backend got for it

    @property
    def status(self) -> int:
        """The status code."""
        return int(self.start.split(" ")[1])

    @property
    def code(self) -> str:
        """The code of a refusal; empty where the backend answered."""
        if self.field("content-type") != "application/problem+json":
            return ""
        return str(json.loads(self.body)["code"]) if self.body else ""


class Link:
    """One end of a raw connection: the client's to the proxy, or the backend's from it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Write, and wait until it has left."""
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> bytes:
        """Up to the empty line."""
        return await self.reader.readuntil(b"\r\n\r\n")

    async def body(self, head: bytes, *, to_head: bool = False) -> bytes:
        """The body that this head announces; until the end of the connection where it announces none in an answer.

        Raises:
            IncompleteReadError: it was cut; what came is in it.
        """
        message = Message(head)
        answer = head.startswith(b"HTTP/")
        if answer and (to_head or re.match(rb"HTTP/1\.[01] (1..|204|304)", head)):
            return b""
        if message.field("transfer-encoding") is not None:
            return await self._chunks()
        length = message.field("content-length")
        if length is not None:
            return await self.reader.readexactly(int(length))
        return await self.reader.read() if answer else b""

    async def _chunks(self) -> bytes:
        body = b""
        try:
            while True:
                size = int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16)
                piece = await self.reader.readexactly(size + 2)
                if not size:
                    assert piece == b"\r\n", "trailers"
                    return body
                body += piece[:-2]
        except asyncio.IncompleteReadError as error:
            raise asyncio.IncompleteReadError(body, None) from error

    async def rest(self) -> bytes:
        """Everything up to the end of the connection, however it ends."""
        data = b""
        with suppress(ConnectionError):
            async with asyncio.timeout(PATIENCE):
                while piece := await self.reader.read(65536):
                    data += piece
        return data

    async def answer(self, method: str = "GET") -> Answer:
        """The next answer, with the 1xx before it."""
        async with asyncio.timeout(PATIENCE):
            interims = []
            while re.match(rb"HTTP/1\.1 1(?!01)", head := await self.head()):
                interims.append(Message(head))
            try:
                body = await self.body(head, to_head=method == "HEAD")
            except asyncio.IncompleteReadError as error:
                return Answer(head, error.partial, whole=False, interims=interims)
            return Answer(head, body, interims=interims)

    def close(self) -> None:
        """Leave."""
        self.writer.close()

    def abort(self) -> None:
        """Leave without a word (RST)."""
        self.writer.transport.abort()


Play = Callable[[Message, Link], Awaitable[None]]


def answering(answer: bytes) -> Play:
    """Takes the whole request, and says these bytes."""

    async def play(request: Message, link: Link) -> None:
        request.body = await link.body(request.head)
        await link.send(answer)

    return play


def in_turn(*plays: Play) -> Play:
    """The first request gets the first of these, and so on; the last one all others."""
    left = list(plays)

    async def play(request: Message, link: Link) -> None:
        await (left.pop(0) if len(left) > 1 else left[0])(request, link)

    return play


class Backend:
    """Records every request and plays its part; `connections` counts how many came, `gone` how many ended."""

    def __init__(self, play: Play) -> None:
        self.play = play
        self.seen: list[Message] = []
        self.connections = 0
        self.gone = 0
        self.complaints: list[BaseException] = []
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        number, link = self.connections, Link(reader, writer)
        try:
            with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
                while not writer.is_closing():
                    request = Message(await link.head(), connection=number)
                    self.seen.append(request)
                    await self.play(request, link)
        except Exception as error:  # told at the end of the playbook, not lost in a task
            self.complaints.append(error)
        finally:
            self.gone += 1
            self._tasks.discard(task)
            writer.close()

    async def end(self) -> None:
        """Close every connection."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def request(
    method: str, target: str, headers: Headers = (), body: bytes = b"", token: str | None = None
) -> bytes:
    """A request as bytes, with a Host and the framing that its body needs where `headers` has none."""
    pairs = list(headers.items() if isinstance(headers, Mapping) else headers)
    names = {name.lower() for name, _ in pairs}
    if "host" not in names:
        pairs.insert(0, ("Host", "proxy.test"))
    if body and not names & {"content-length", "transfer-encoding"}:
        pairs.append(("Content-Length", str(len(body))))
    if token is not None:
        pairs.append(("Authorization", f"Bearer {token}"))
    rows = "".join(f"{name}: {value}\r\n" for name, value in pairs)
    return f"{method} {target} HTTP/1.1\r\n{rows}\r\n".encode("latin-1") + body


async def until(condition: Callable[[], Any], within: float = PATIENCE) -> None:
    """Wait for what other tasks bring about."""
    async with asyncio.timeout(within):
        while not condition():  # noqa: ASYNC110  # the code under test has no event for it
            await asyncio.sleep(0.005)
