"""A proxy in one process, on real loopback sockets: a request in, what the backend saw, the answer out.

The product's own load, compile_runtime and Worker; the backend is raw and says exactly what it is told. Leaving a
playbook holds the proxy to what is true of every request: nothing escaped a callback, nothing was logged as an error,
no task is left behind.
"""

import asyncio
import gc
import json
import logging
import re
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from authproxy.authn.issue import generate_key, public_jwks, sign_test_token
from authproxy.config.load import Loaded, load
from authproxy.config.schema import JwtAuthenticator
from authproxy.model.errors import REFUSALS
from authproxy.runtime import Runtime, compile_runtime
from authproxy.server.sockets import listen
from authproxy.server.tls import listener_context
from authproxy.server.worker import Listening, Worker

Json = dict[str, Any]
Headers = Mapping[str, str] | Sequence[tuple[str, str]]

ISSUER = "https://issuer.test"
HELLO = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
OPEN: Json = {
    "name": "open", "match": {"paths": ["/**"]}, "upstream": "backend", "authenticate": "none",
}  # fmt: skip
GUARDED: Json = {
    "name": "guarded", "match": {"paths": ["/guarded/**"]}, "upstream": "backend",
    "authenticate": ["tokens"], "allow": "authenticated",
}  # fmt: skip
PATIENCE = 5.0  # seconds for what should take milliseconds


@cache
def signing_key() -> bytes:
    """The key of every token, made once a session."""
    return generate_key("ES256")


def token(subject: str = "alice", *, key: bytes | None = None, **wishes: Any) -> str:
    """A token that the playbook's authenticator takes; `wishes` are those of `sign_test_token`."""
    settings = JwtAuthenticator.model_validate(authenticator())
    pem = key or signing_key()
    return sign_test_token(settings, pem, subject=subject, **{"now": time.time(), **wishes})


def authenticator() -> Json:
    """The settings of `tokens`."""
    keys = {"file": "jwks.json"}
    return {
        "type": "jwt", "issuer": ISSUER, "audiences": ["api"], "algorithms": ["ES256"], "keys": keys,
    }  # fmt: skip


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
        for task in tuple(self._tasks):
            task.cancel()
        while self._tasks:
            await asyncio.sleep(0)


@dataclass(slots=True)
class Proxy:
    """A running proxy, its backend, and a client."""

    worker: Worker
    runtime: Runtime
    loaded: Loaded
    backend: Backend
    addresses: list[tuple[str, int]]
    serving: "asyncio.Task[None]"
    errors: list[str] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    async def connect(self, listener: int = 0, tls: ssl.SSLContext | None = None) -> Link:
        """A new connection of a client."""
        host, port = self.addresses[listener]
        name = "localhost" if tls else None
        link = Link(*await asyncio.open_connection(host, port, ssl=tls, server_hostname=name))
        self.links.append(link)
        return link

    async def request(
        self,
        method: str,
        target: str,
        headers: Headers = (),
        body: bytes = b"",
        token: str | None = None,
        link: Link | None = None,
    ) -> Answer:
        """One request, on a connection of its own unless there is one; the answer, with what the backend saw."""
        before = len(self.backend.seen)
        on = link or await self.connect()
        await on.send(request(method, target, headers, body, token))
        answer = await on.answer(method)
        answer.seen = self.backend.seen[before:]
        if link is None:
            on.close()
        return answer

    async def raw(self, data: bytes) -> bytes:
        """Everything that is answered to these bytes until the proxy closes."""
        link = await self.connect()
        await link.send(data)
        return await link.rest()

    def log(self) -> list[Json]:
        """The access log so far."""
        self.runtime.access_log.flush()
        text = (self.loaded.folder / "access.log").read_text()
        return [json.loads(line) for line in text.splitlines()]

    async def logged(self, count: int = 1) -> list[Json]:
        """The access log once it has so many lines."""
        await until(lambda: len(self.log()) >= count)
        return self.log()

    async def canary(self) -> None:
        """Whatever happened before, the next one is served."""
        answer = await self.request("GET", "/canary")
        assert (answer.status, len(answer.seen)) == (200, 1)


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


def write_files(folder: Path, config: Json, routes: Sequence[Json]) -> Loaded:
    """A configuration in a folder; JSON is YAML."""
    (folder / "policies").mkdir()
    (folder / "jwks.json").write_text(json.dumps(public_jwks([signing_key()], ["ES256"])))
    (folder / "policies" / "routes.yaml").write_text(json.dumps({"routes": list(routes)}))
    (folder / "authproxy.yaml").write_text(json.dumps(config))
    return load(folder / "authproxy.yaml")


def configuration(server: str, **changes: Any) -> Json:
    """A whole configuration; `changes` replace its parts, `timeouts` are the upstream's."""
    return {
        "listeners": [{"address": "127.0.0.1:0"}],
        "admin": False,
        "state": {"url": "memory:"},
        "authenticators": {"tokens": authenticator()},
        "upstreams": {"backend": {"servers": [server], "timeouts": changes.pop("timeouts", {})}},
        "logging": {"access": {"path": "access.log"}},
        **changes,
    }


def listening(loaded: Loaded) -> list[Listening]:
    """The listeners of a configuration, bound."""
    found = []
    for index, one in enumerate(loaded.usable().listeners):
        context = listener_context(loaded, index, one.tls) if one.tls else None
        sock = listen(one.address)
        found.append(Listening(sock, str(one.address), context))
    return found


class Errors(logging.Handler):
    """Keeps what is logged as an error."""

    def __init__(self, kept: list[str]) -> None:
        super().__init__(logging.ERROR)
        self._kept = kept

    def emit(self, record: logging.LogRecord) -> None:
        """One more."""
        self._kept.append(record.getMessage())


@asynccontextmanager
async def playbook(
    *routes: Json, play: Play | bytes = HELLO, folder: Path | None = None, **config: Any
) -> AsyncIterator[Proxy]:
    """A proxy with these routes (by default `OPEN` and `GUARDED`) in front of a backend that plays `play`."""
    backend = Backend(play if callable(play) else answering(play))
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    with tempfile.TemporaryDirectory(dir=folder) as place:
        loaded = write_files(Path(place), configuration(url, **config), routes or (OPEN, GUARDED))
        runtime, sockets = compile_runtime(loaded, {}), listening(loaded)
        worker, ready = Worker(runtime, sockets, None), asyncio.Event()
        addresses = [one.sock.getsockname() for one in sockets]
        serving = asyncio.get_running_loop().create_task(worker.run(ready.set))
        proxy = Proxy(worker, runtime, loaded, backend, addresses, serving)
        async with held_to_its_word(proxy):
            await ready.wait()
            yield proxy
            for link in proxy.links:
                link.close()
            worker.stop()
            await serving
            server.close()
            await backend.end()


@asynccontextmanager
async def held_to_its_word(proxy: Proxy) -> AsyncIterator[None]:
    """Fails where anything escaped, was logged as an error or is still running in the end."""
    loop, handler = asyncio.get_running_loop(), Errors(proxy.errors)
    escaped: list[Json] = []
    tasks = asyncio.all_tasks()
    loop.set_exception_handler(lambda _loop, context: escaped.append(context))
    loggers = [logging.getLogger(name) for name in ("authproxy", "aiohttp")]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
        await asyncio.sleep(0)
        gc.collect()  # what nobody awaited complains when it is collected
        left = {task for task in asyncio.all_tasks() - tasks if not task.done()}
    finally:
        for logger in loggers:
            logger.removeHandler(handler)
        loop.set_exception_handler(None)
    assert (escaped, proxy.errors, proxy.backend.complaints, left) == ([], [], [], set())


CODES = frozenset(REFUSALS)
