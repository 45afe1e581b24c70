"""Contract tests of every semi-public hook of aiohttp that compat.py uses: they fail loudly when aiohttp changes.

And what those hooks are for: the bounds on heads and connections, by bytes, by number and by time.
"""

import asyncio
import inspect

import pytest
from aiohttp import http_parser, web, web_protocol
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import ERROR, RequestHandler, _ErrInfo

from authproxy.config.listeners import Listener
from authproxy.config.schema import Bounds
from authproxy.server import worker
from authproxy.web import compat
from authproxy.web.compat import ClientConnection
from authproxy.web.listener import Server
from authproxy.web.rounds import Rounds
from tests.playbook import Proxy, playbook
from tests.wire import HELLO, Link, Message, answering, in_turn, request, until

PLAIN = Listener.model_validate({"address": "127.0.0.1:0"})


@pytest.fixture
async def server() -> Server:
    """A server that nobody connects to."""

    def never(*_: object) -> None:
        raise AssertionError

    return Server(Rounds(()), never, Bounds(), name="test", settings=PLAIN, runtime=None)


def test_only_the_c_parser_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    """On aiohttp's pure-Python parser, which lets through what the C one refuses, nothing starts."""
    compat.require_c_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(RuntimeError, match="C parser"):
        compat.require_c_parser()


async def test_a_connection_has_what_we_read_of_it(server: Server) -> None:
    """The private state that we look at exists under its name and begins as we expect."""
    connection = server()
    assert isinstance(connection, RequestHandler)
    assert (connection._waiter, connection._messages.maxlen) == (None, None)
    assert list(connection._messages) == []
    assert (connection._force_close, connection._close, connection._paused) == (False, False, False)
    assert (connection._buffer_paused, connection._upgraded, connection._request_count) == (
        False,
        False,
        0,
    )
    assert (connection._current_request, connection._task_handler, connection._payload_parser) == (
        None,
        None,
        None,
    )
    assert connection._msg_queue_resume_size < web_protocol.MAX_MSG_QUEUE_SIZE
    assert callable(connection._resume_reading_if_drained)
    assert callable(connection._drain_helper)
    assert callable(connection._parser.message_consumed)  # type: ignore[union-attr]
    assert server._connections == {}


async def test_bodies_are_not_decompressed() -> None:
    """`auto_decompress` is off: what says gzip passes as it is, a bomb too, and broken gzip as well."""
    async with playbook() as p:
        answer = await p.request("POST", "/", {"Content-Encoding": "gzip"}, b"no gzip at all")
        assert answer.seen[0].body == b"no gzip at all"


def test_the_loop_that_ours_replaces() -> None:
    """Aiohttp starts `start()` as the connection's one task, which we do not; its loop does what ours does in its place."""
    made = inspect.getsource(RequestHandler.connection_made)
    for step in (
        "super().connection_made(transport)",
        "tcp_keepalive(real_transport)",
        "self._manager.connection_made(self, real_transport)",
        "self.start()",
    ):
        assert step in made
    theirs = inspect.getsource(RequestHandler.start)
    for step in (
        "self._messages.popleft()",
        "message_consumed()",
        "_resume_reading_if_drained()",
        "_make_error_handler",
    ):
        assert step in theirs
    assert list(inspect.signature(web.BaseRequest.__init__).parameters)[1:7] == [
        "message", "payload", "protocol", "payload_writer", "task", "loop",
    ]  # fmt: skip


def test_what_stands_for_an_unparsed_request() -> None:
    """The message that aiohttp puts in place of one it could not parse asks for no further one."""
    assert (ERROR.should_close, ERROR.upgrade, ERROR.chunked) == (True, False, False)
    assert EMPTY_PAYLOAD.is_eof()
    info = _ErrInfo(status=400, exc=ValueError(), message="")
    assert isinstance(info.exc, ValueError)


async def test_a_body_can_be_ended_from_outside(server: Server) -> None:
    """`set_exception` wakes whoever reads, and `is_eof` stays false: what ends a body that the parser gave up."""
    loop = asyncio.get_running_loop()
    connection = server()
    connection.transport = asyncio.Transport()
    body = StreamReader(protocol=connection, limit=1, loop=loop)
    reading = loop.create_task(body.readany())
    await asyncio.sleep(0)
    body.set_exception(web.RequestPayloadError("body"))
    with pytest.raises(web.RequestPayloadError):
        await reading
    assert not body.is_eof()


@pytest.mark.parametrize(
    ("data", "code", "status"),
    [
        (b"GET /" + b"a" * 9000, "uri_too_long", 414),
        (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", "uri_too_long", 414),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 40000, "headers_too_large", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * 40000 + b": 1\r\n\r\n", "headers_too_large", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * 200 + b"\r\n", "headers_too_large", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" % (b"a" * 3000) * 15 + b"\r\n", "headers_too_large", 431),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: %b\r\n" % (b"a" * 3000) * 15, "headers_too_large", 431),
        (b"\r\n" * 30000, "headers_too_large", 431),
    ],
)  # fmt: skip
@pytest.mark.parametrize("step", [1 << 20, 1000])
async def test_bounds_of_a_head(data: bytes, code: str, status: int, step: int) -> None:
    """A head over its bounds, by bytes or number, is refused by its own code in whatever pieces it comes (aiohttp #12826)."""
    async with playbook() as p:
        link = await p.connect()
        for at in range(0, len(data), step):
            link.writer.write(data[at : at + step])
            await asyncio.sleep(0)
        answer = await link.answer()
        assert (answer.code, answer.status, answer.field("connection")) == (code, status, "close")
        assert (await p.logged())[0]["code"] == code


async def test_a_long_answer_to_who_is_still_talking() -> None:
    """A refusal reaches a client that is in the middle of a megabyte of head: it is not lost to a reset."""
    async with playbook() as p:
        link = await p.connect()
        sending = asyncio.get_running_loop().create_task(trickle(link.writer))
        answer = await link.answer()
        assert answer.code == "uri_too_long"
        sending.cancel()


async def trickle(writer: asyncio.StreamWriter) -> None:
    """A target without end."""
    writer.write(b"GET /")
    while True:
        writer.write(b"a" * 4096)
        await asyncio.sleep(0.001)


async def test_bounds_of_zero_are_none() -> None:
    """0 is no bound, for heads as for everything."""
    bounds = {"header_bytes": 0, "header_fields": 0, "uri_bytes": 0, "connections": 0, "keepalive": "0s", "header_timeout": "0s"}  # fmt: skip
    async with playbook(bounds=bounds) as p:
        fields = [("X", "a" * 1000)] * 200
        assert (await p.request("GET", "/" + "a" * 20000, fields)).status == 200


async def test_trap_keepalive_timeout_is_the_head_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Slowloris: an unfinished head is `request_timeout` after `header_timeout`, however it drips."""
    monkeypatch.setattr(worker, "TICK", 0.02)
    async with playbook(bounds={"header_timeout": "150ms"}) as p:
        link = await p.connect()
        for byte in b"GET / HT":
            link.writer.write(bytes([byte]))
            await asyncio.sleep(0.01)
        answer = await link.answer()
        assert (answer.code, answer.field("connection")) == ("request_timeout", "close")
        second = await p.connect()
        await second.send(request("GET", "/") + b"GET")
        assert (await second.answer()).status == 200
        await second.send(b" / HTTP/1.1\r\n")
        assert (await second.answer()).code == "request_timeout"


async def test_idle_connections_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that says nothing ends after `header_timeout`, one that waits for a next request after `keepalive`."""
    monkeypatch.setattr(worker, "TICK", 0.02)
    async with playbook(bounds={"header_timeout": "100ms", "keepalive": "100ms"}) as p:
        mute = await p.connect()
        assert await mute.rest() == b""
        used = await p.connect()
        assert (await p.request("GET", "/", link=used)).status == 200
        assert await used.rest() == b""
        assert len(p.log()) == 1


async def test_a_busy_connection_is_not_idle(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that come and go between two looks of the sweep keep their connection alive."""
    monkeypatch.setattr(worker, "TICK", 0.02)
    async with playbook(bounds={"keepalive": "100ms"}) as p:
        link = await p.connect()
        for _ in range(20):
            assert (await p.request("GET", "/", link=link)).status == 200
            await asyncio.sleep(0.015)


@pytest.mark.parametrize(
    "head",
    [
        "Connection: Upgrade\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
        "Connection: Upgrade\r\nUpgrade: TLS/1.0, websocket\r\n",
        "Connection: upgrade, close\r\nUpgrade: foo\r\n",
    ],
)
async def test_trap_upgrade_other_than_websocket_closes(head: str) -> None:
    """Aiohttp swallows what follows such an Upgrade: it is not passed on, the request is answered, and the connection ends."""
    async with playbook() as p:
        told = await p.raw(
            f"GET / HTTP/1.1\r\nHost: a\r\n{head}\r\n".encode() + request("GET", "/smuggled")
        )
        assert told.count(b"HTTP/1.1 200 OK") == 1
        assert b"Connection: close\r\n" in told
        assert len(p.backend.seen) == 1
        assert p.backend.seen[0].field("upgrade") is None
        assert p.backend.seen[0].field("http2-settings") is None


async def test_trap_body_of_a_refused_upgrade_is_no_request() -> None:
    """CVE-2026-69243: a POST that asks for a WebSocket; its body and what follows it are never parsed as a request."""
    head = {"Connection": "Upgrade", "Upgrade": "websocket", "Content-Length": "5"}
    async with playbook() as p:
        told = await p.raw(request("POST", "/", head, b"hello") + request("GET", "/smuggled"))
        assert told.count(b"HTTP/1.1 ") == 1
        assert [seen.body for seen in p.backend.seen] == [b"hello"]
        assert p.backend.seen[0].field("upgrade") is None


async def test_upgrade_without_the_option_asks_for_nothing() -> None:
    """RFC 9110 section 7.8: an Upgrade that `Connection` does not name is dropped, and the connection goes on."""
    fields = {
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }
    async with playbook() as p:
        link = await p.connect()
        for _ in range(2):
            answer = await p.request("GET", "/", fields, link=link)
            assert (answer.status, answer.seen[0].field("upgrade")) == (200, None)


async def test_bytes_after_a_connect_are_no_request() -> None:
    """A refused CONNECT ends its connection: what follows it was meant for a tunnel."""
    async with playbook() as p:
        connect = b"CONNECT a:443 HTTP/1.1\r\nHost: a:443\r\n\r\n"
        told = await p.raw(connect + request("GET", "/smuggled"))
        assert told.startswith(b"HTTP/1.1 405 ")
        assert told.count(b"HTTP/1.1 ") == 1
        assert p.backend.seen == []


async def test_refused_bodies_are_never_requests() -> None:
    """0.CL and friends: after a refusal, what is left of its body is never parsed as a request of its own."""
    smuggled = request("GET", "/smuggled")
    async with playbook() as p:
        fields = {"Content-Length": str(len(smuggled) + 11)}
        told = await p.raw(request("POST", "/guarded/1", fields) + smuggled + b"x" * 10)
        assert told.count(b"HTTP/1.1 ") == 1
        assert b" 401 " in told
        assert p.backend.seen == []


async def test_a_read_body_keeps_the_connection() -> None:
    """A refusal whose body has arrived whole leaves the connection for the next request."""
    async with playbook() as p:
        link = await p.connect()
        refused = await p.request("POST", "/guarded/1", (), b"hello", link=link)
        assert (refused.code, refused.field("connection")) == ("unauthenticated", None)
        assert (await p.request("GET", "/", link=link)).status == 200


async def test_pipelining_is_bounded() -> None:
    """CVE-2026-54273: thousands of pipelined requests wait in the socket, not in memory, and each is answered."""
    async with playbook(play=in_turn(answering(HELLO))) as p:
        link = await p.connect()
        link.writer.write(request("GET", "/") * 3000)
        connection = None
        for _ in range(3000):
            assert (await link.answer()).status == 200
            connection = connection or p.worker._servers[0].connections[0]
            assert isinstance(connection, ClientConnection)
            assert len(connection._messages) <= web_protocol.MAX_MSG_QUEUE_SIZE


@pytest.mark.parametrize("line", [b"CONNECT  \r\n", b"CONNECT  HTTP/1.1\r\n"])
async def test_trap_connect_without_a_target(line: bytes) -> None:
    """The parser makes a message without a URL of it; it is refused and logged like any other, and nothing fails."""
    async with playbook() as p:
        assert (await p.raw(line + b"Host: a\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert (await p.logged())[0]["code"] == "bad_request"


def only_connection(p: Proxy) -> ClientConnection:
    """The one connection that a client has."""
    (connection,) = p.worker._servers[0].connections
    assert isinstance(connection, ClientConnection)
    return connection


async def test_nothing_waits_in_a_task() -> None:
    """Neither an idle connection has a task, nor one whose backend is being waited for; a client that leaves is noted."""

    async def silent(_request: Message, link: Link) -> None:
        await link.reader.read()

    async with playbook(play=in_turn(answering(HELLO), silent)) as p:
        link = await p.connect()
        await p.request("GET", "/", link=link)
        connection = only_connection(p)
        assert (connection._task_handler, connection._current_request, connection.backend) == (
            None,
            None,
            None,
        )
        await link.send(request("GET", "/"))
        await until(lambda: len(p.backend.seen) == 2)
        assert connection._task_handler is None
        assert connection.backend is not None
        link.close()
        assert (await p.logged(2))[1]["code"] == "client_gone"
        await until(lambda: not p.runtime.pools["backend"].busy_count)


async def test_trap_a_task_begins_before_it_is_cancelled() -> None:
    """A client that leaves before a task's first step: it begins all the same, so that it ends what it was given."""
    ended = []

    async def waiting() -> None:
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            ended.append(True)

    async with playbook() as p:
        link = await p.connect()
        await p.request("GET", "/", link=link)
        connection = only_connection(p)
        connection.work(waiting())
        connection.connection_lost(None)
        await until(lambda: ended)


async def test_pipelined_refusals_are_no_recursion() -> None:
    """Requests that are answered at once are taken one after the other, however many came together."""
    async with playbook() as p:
        link = await p.connect()
        link.writer.write(request("GET", "/guarded/1") * 3000)
        for _ in range(3000):
            assert (await link.answer()).status == 401
