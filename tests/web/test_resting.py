"""What a connection need not hold while nothing is read from it is given back, and nobody notices."""

import asyncio
import mmap
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web_protocol
from aiohttp.http_parser import HttpRequestParser

from authproxy.config.listeners import Listener
from authproxy.config.schema import Bounds
from authproxy.web import resting
from authproxy.web.compat import ClientConnection, Request
from authproxy.web.listener import NEVER, Server
from authproxy.web.resting import HEAD_END, REST, give_back
from tests import certificates
from tests.playbook import Proxy, playbook
from tests.wire import Link, request

BUFFER = 256 << 10  # uvloop's SSL_READ_MAX_SIZE
PAGES_MOST = 3 * mmap.PAGESIZE  # what lies in the two at its ends, and what a small read fills


class Buffered:
    """A transport whose buffer is this memory, as uvloop's are."""

    def __init__(self, memory: memoryview) -> None:
        self.memory = memory

    def get_extra_info(self, _name: str) -> "Buffered":
        """Itself: it is the protocol too."""
        return self

    def get_buffer(self, _size: int) -> memoryview:
        """Always the same."""
        return self.memory


@asynccontextmanager
async def secure(tmp_path: Path) -> AsyncIterator[tuple[Proxy, ssl.SSLContext]]:
    """A proxy whose listener speaks TLS, and a client's context for it."""
    trusted = certificates.authority("servers")
    certificate, key = certificates.server(trusted, "localhost").write(tmp_path, "server")
    tls = {"certificates": [{"certificate": str(certificate), "private_key": str(key)}]}
    async with playbook(listeners=[{"address": "127.0.0.1:0", "tls": tls}]) as p:
        yield p, certificates.client_context(trusted)
        p.worker._servers[0].accepted = -NEVER  # so that the drain waits for no handshake


def transport(p: Proxy) -> Any:
    """That of the one connection that there is, on the proxy's side."""
    (found,) = p.worker._servers[0]._connections.values()
    return found


def ends(p: Proxy) -> list[Any]:
    """What uvloop has of each connection."""
    transports = p.worker._servers[0]._connections.values()
    return [one.get_extra_info("uvloop.sslproto") for one in transports]


def used(memory: memoryview) -> int:
    """How many bytes of it are not 0, as fresh pages are."""
    return len(memory) - bytes(memory).count(0)


async def ask(p: Proxy, link: Link, size: int = 0) -> None:
    """A request with a body of so many bytes is answered as ever, whole."""
    answer = await p.request("POST", "/", (), b"x" * size, link=link)
    assert (answer.status, len(answer.seen[0].body)) == (200, size)


async def test_uvloop_has_a_buffer_for_each_tls_connection(tmp_path: Path) -> None:
    """The hook: it is asked for by this name, is always the same memory, and holds what was read last."""
    async with secure(tmp_path) as (p, client):
        link = await p.connect(tls=client)
        for _ in range(2):  # the first may have come with the handshake's end
            await ask(p, link)
        (end,) = ends(p)
        memory = end.get_buffer(0)
        assert (len(memory), memory.readonly, memory.format) == (BUFFER, False, "B")
        assert (
            memory[0] == 23
        )  # what came last is still in it, a record of data: RFC 8446 section 5.1
        await ask(p, await p.connect(tls=client))
        other = next(one for one in ends(p) if one is not end).get_buffer(0)
        before = other[-1]
        memory[-1] = before ^ 255
        assert (end.get_buffer(BUFFER)[-1], other[-1]) == (before ^ 255, before)


async def test_a_tls_connection_gives_back_what_lay_below_it(tmp_path: Path) -> None:
    """Malloc lays the buffer over what was needed before it: at the first look that sees it idle that is let go of."""
    async with secure(tmp_path) as (p, client):
        for _ in range(8):
            needed = [
                b"x" * BUFFER for _ in range(3)
            ]  # as handshakes do, by the time when there were many
            del needed
            await ask(p, await p.connect(tls=client))
        p.worker._servers[0].sweep(asyncio.get_running_loop().time())
        for end in ends(p):
            assert used(end.get_buffer(0)) <= PAGES_MOST


async def test_what_is_given_back_is_nothing_that_is_needed(tmp_path: Path) -> None:
    """After a body that filled the buffer its pages go, and the connection goes on: also in the middle of a body."""
    async with secure(tmp_path) as (p, client):
        link = await p.connect(tls=client)
        await ask(p, link, 1 << 20)
        memory = ends(p)[0].get_buffer(0)
        memory[:] = b"x" * BUFFER
        give_back(transport(p))
        assert used(memory) <= 2 * mmap.PAGESIZE
        asking = asyncio.get_running_loop().create_task(ask(p, link, 4 << 20))
        while not asking.done():
            give_back(transport(p))
            await asyncio.sleep(0)
        await asking


@pytest.mark.parametrize("length", [1, mmap.PAGESIZE - 1, mmap.PAGESIZE, 3 * mmap.PAGESIZE])
@pytest.mark.parametrize("begin", [0, 1, mmap.PAGESIZE - 1, mmap.PAGESIZE])
def test_only_whole_pages_of_its_own_are_given_back(begin: int, length: int) -> None:
    """Not a byte before or behind a buffer changes, wherever it lies."""
    with mmap.mmap(-1, 6 * mmap.PAGESIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as place:
        everything = memoryview(place)
        everything[:] = b"x" * len(everything)
        part = everything[begin : begin + length]
        give_back(Buffered(part))  # type: ignore[arg-type]
        before, behind = everything[:begin], everything[begin + length :]
        assert (used(before), used(behind)) == (len(before), len(behind))
        whole = (begin + length) // mmap.PAGESIZE - -(-begin // mmap.PAGESIZE)
        assert length - used(part) == max(whole, 0) * mmap.PAGESIZE
        for view in (before, behind, part, everything):
            view.release()


async def test_a_plain_connection_has_nothing_to_give() -> None:
    """It reads into memory that all connections share."""
    async with playbook() as p:
        link = await p.connect()
        await ask(p, link)
        give_back(transport(p))
        await ask(p, link)


def test_huge_pages_of_malloc_are_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some kernels would give back the memory around as well (madvise(2))."""
    monkeypatch.setattr(resting, "_GIVES", False)
    memory = memoryview(bytearray(b"x" * BUFFER))
    give_back(Buffered(memory))  # type: ignore[arg-type]
    assert used(memory) == BUFFER


PLAIN = Listener.model_validate({"address": "127.0.0.1:0"})
CHUNKED = b"POST /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
STREAM = (
    request("GET", "/1")
    + b"\r\n\r\n"  # RFC 9112 section 2.2: empty lines before a request are passed over
    + request("POST", "/2", (), b"GET /in-a-body HTTP/1.1\r\nHost: a" + HEAD_END)
    + CHUNKED
    + b"6\r\nab\r\n\r\n\r\n0\r\nLast: x"
    + HEAD_END
    + request("GET", "/4") * 2
)
SENT = [
    ("/1", b""), ("/2", b"GET /in-a-body HTTP/1.1\r\nHost: a\r\n\r\n"), ("/3", b"ab\r\n\r\n"), ("/4", b""), ("/4", b""),
]  # fmt: skip


CLOCK = count(1.0, REST + 1)


class Open(asyncio.Transport):
    """A transport that stays open and sends nothing."""

    def is_closing(self) -> bool:
        """No."""
        return False


class Whole:
    """A handler that answers each request once all of it is here, and keeps what it was."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.waiting: Request | None = None

    def arrived(self, request: Request) -> None:
        """The next request."""
        self.waiting = request
        self.look()

    def answered(self, *_: object) -> None:
        """No backend is asked."""
        raise AssertionError

    def look(self) -> None:
        """Answer, where its body has come."""
        one = self.waiting
        if one is not None and one.content.is_eof():
            self.waiting = None
            self.seen.append((one.path, one.content.read_nowait()))
            one.connection.answered(one, keep=True)


def idle_connection() -> tuple[ClientConnection, Whole]:
    """A connection that nothing has come on, and who answers its requests."""

    def never(*_: object) -> None:
        raise AssertionError

    handler = Whole()
    server = Server(handler, never, Bounds(keepalive=0), name="test", settings=PLAIN, runtime=None)
    connection = server()
    connection.transport = Open()
    return connection, handler


def let_rest(connection: ClientConnection, times: int = 2) -> None:
    """The sweep looks at it so many times, with as much time in between as it takes to rest."""
    for _ in range(times):
        connection.look(next(CLOCK), Open())


async def test_a_rest_between_any_two_bytes_changes_nothing() -> None:
    """The invariant: wherever a client pauses, the same requests are read with the same bodies, and no others."""
    rested = 0
    for cut in range(len(STREAM) + 1):
        connection, handler = idle_connection()
        for part in (STREAM[:cut], STREAM[cut:]):
            connection.data_received(part)
            handler.look()
            let_rest(connection)
            rested += connection._parser is None
        assert handler.seen == SENT, cut
    assert rested > 50  # where no head had begun, and no body was read from what came last
    connection, handler = idle_connection()
    for byte in STREAM:
        connection.data_received(bytes([byte]))
        handler.look()
        let_rest(connection)
    assert handler.seen == SENT


async def test_part_of_a_head_that_came_with_a_request_is_kept() -> None:
    """CWE-444: a head that began in the bytes of the request before is read to its end, however long that takes."""
    connection, handler = idle_connection()
    begun = b"GET /2 HTTP/1.1\r\nHost: a\r\nX-Long: "
    connection.data_received(request("GET", "/1") + begun)
    let_rest(connection, times=5)
    connection.data_received(b"GET /smuggled HTTP/1.1\r\nAccept: a" + HEAD_END)
    assert [path for path, _ in handler.seen] == ["/1", "/2"]


async def test_a_resting_connection_has_no_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the last request said is gone with it; the next one gets a parser that is made as aiohttp makes its own."""
    made: list[tuple[Any, ...]] = []
    real = HttpRequestParser

    def parser(connection: ClientConnection, *values: Any, **options: Any) -> Any:
        made.append((values, options))
        return real(connection, *values, **options)

    for module in (web_protocol, resting):
        monkeypatch.setattr(module, "HttpRequestParser", parser)
    connection, handler = idle_connection()
    for looks in (1, 2):  # the first time at once, and then after a while
        connection.data_received(request("GET", "/1"))
        let_rest(connection, looks - 1)
        assert connection._parser is not None
        let_rest(connection, 1)
        assert connection._parser is None
        assert connection.kept is None
    connection.data_received(request("GET", "/2"))
    assert [path for path, _ in handler.seen] == ["/1", "/1", "/2"]
    assert len(made) == 3
    assert made[0] == made[1] == made[2]


async def test_who_is_gone_needs_no_parser() -> None:
    """Bytes after the end of a connection that rested make nothing anew."""
    connection, _ = idle_connection()
    connection.data_received(request("GET", "/1"))
    let_rest(connection)
    connection._force_close, connection.transport = True, None
    connection.data_received(b"")
    assert connection._parser is None


async def test_a_connection_rests_and_goes_on(tmp_path: Path) -> None:
    """After a body that filled its buffer a TLS connection gives the pages back in a time of idleness, and is served again."""
    async with secure(tmp_path) as (p, client):
        link = await p.connect(tls=client)
        (server,) = p.worker._servers
        await ask(p, link)
        server.sweep(asyncio.get_running_loop().time())  # the first time is at once
        for _ in range(2):
            await ask(p, link, 1 << 20)
            memory = ends(p)[0].get_buffer(0)
            memory[:] = b"x" * BUFFER
            now = asyncio.get_running_loop().time()
            server.sweep(now)
            server.sweep(now + REST / 2)
            assert used(memory) == BUFFER
            server.sweep(now + REST + 1)
            assert used(memory) <= 2 * mmap.PAGESIZE
            memory[:] = b"x" * BUFFER
            server.sweep(now + REST + 2)  # once is enough
            assert used(memory) == BUFFER
