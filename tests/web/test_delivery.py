"""The backend's answer on its way to the client: what passes, what does not, and how a cut shows."""

import asyncio
import resource

import pytest

from authproxy.web import delivery
from tests.playbook import OPEN, playbook
from tests.wire import HELLO, Link, Message, answering, in_turn, request, until

HEAD = b"HTTP/1.1 200 OK\r\n"


async def test_an_answer_passes_unchanged() -> None:
    """Status, reason, fields (repeated ones in their order) and body pass as the backend said them."""
    play = (
        b"HTTP/1.1 418 I'm a teapot\r\nSet-Cookie: a=1\r\nX-A: 1\r\nset-cookie: b=2\r\nX-A: 2\r\n"
        b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\n\x1f\x8b\x00"
    )
    async with playbook(play=play) as p:
        answer = await p.request("GET", "/")
        assert answer.start == "HTTP/1.1 418 I'm a teapot"
        assert answer.all("set-cookie") == ["a=1", "b=2"]
        assert answer.all("x-a") == ["1", "2"]
        assert (answer.field("content-encoding"), answer.body) == ("gzip", b"\x1f\x8b\x00")
        assert answer.field("x-request-id") == answer.seen[0].field("x-request-id")
        assert (await p.logged())[0]["bytes_out"] == 3


async def test_hop_by_hop_fields_of_an_answer_end_here() -> None:
    """What the backend says of its own connection is not said to the client."""
    play = (
        HEAD
        + b"Connection: close, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\nUpgrade: h2c\r\nTrailer: X\r\n"
        b"Proxy-Authenticate: Basic\r\nX-Request-Id: theirs\r\nX-End: 1\r\nContent-Length: 0\r\n\r\n"
    )
    async with playbook(play=play) as p:
        answer = await p.request("GET", "/")
        names = [name for name, _ in answer.lines]
        assert names == ["x-end", "content-length", "x-request-id"]
        assert answer.field("x-request-id") != "theirs"


async def test_connection_cannot_take_the_length_of_an_answer() -> None:
    """A backend's `Connection: Content-Length` must not leave the client without the end of the body."""
    play = HEAD + b"Connection: content-length\r\nContent-Length: 5\r\n\r\nhello"
    async with playbook(play=play) as p:
        link = await p.connect()
        for _ in range(2):
            answer = await p.request("GET", "/", link=link)
            assert (answer.field("content-length"), answer.body) == ("5", b"hello")


async def test_a_backend_cannot_set_our_session_cookie() -> None:
    """A Set-Cookie with the session cookie's name is removed, in final answers and in 1xx."""
    cookie = b"Set-Cookie: __Host-authproxy=evil; Path=/\r\nSet-Cookie: mine=1\r\n"
    play = (
        b"HTTP/1.1 103 Early Hints\r\n"
        + cookie
        + b"\r\n"
        + HEAD
        + cookie
        + b"Content-Length: 0\r\n\r\n"
    )
    async with playbook(play=play) as p:
        answer = await p.request("GET", "/")
        assert answer.all("set-cookie") == ["mine=1"]
        assert answer.interims[0].all("set-cookie") == ["mine=1"]


async def test_early_hints_pass() -> None:
    """A 103 arrives before the answer (RFC 8297), but for its framing and what is hop-by-hop."""
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    async with playbook(play=hints + HELLO) as p:
        link = await p.connect()
        for _ in range(2):
            answer = await p.request("GET", "/", link=link)
            assert [interim.lines for interim in answer.interims] == [[("link", "</a.css>")]]
            assert answer.body == b"hello"


async def test_http_1_0_clients_are_sent_no_1xx() -> None:
    """RFC 9110 section 15.2: who speaks HTTP/1.0 has not heard of 1xx."""
    async with playbook(play=b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO) as p:
        told = await p.raw(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        assert told.startswith(b"HTTP/1.1 200 OK\r\n")


async def test_http_1_0_client_gets_no_chunks() -> None:
    """A body of unknown length goes to HTTP/1.0 as it is, and ends with the connection."""
    play = HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
    async with playbook(play=play) as p:
        told = await p.raw(b"GET / HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        head, _, body = told.partition(b"\r\n\r\n")
        assert body == b"hello"
        assert b"chunked" not in head.lower()
        assert b"Connection: close" in head


async def test_http_1_0_keep_alive_is_confirmed() -> None:
    """An HTTP/1.0 client that asks to keep the connection is told so, in answers and in refusals."""
    async with playbook() as p:
        link = await p.connect()
        for target, status in (("/", 200), ("/guarded/1", 401), ("/", 200)):
            head = f"GET {target} HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
            await link.send(head.encode())
            answer = await link.answer()
            assert (answer.status, answer.field("connection")) == (status, "keep-alive")


async def test_a_body_of_unknown_length_is_chunked() -> None:
    """What a backend ends with its connection is chunked for the client, whose own connection goes on."""

    async def ends(_request: Message, link: Link) -> None:
        await link.send(HEAD + b"\r\nhel")
        await asyncio.sleep(0.02)
        await link.send(b"lo")
        link.close()

    async with playbook(play=ends) as p:
        link = await p.connect()
        for _ in range(2):
            answer = await p.request("GET", "/", link=link)
            assert (answer.field("transfer-encoding"), answer.body) == ("chunked", b"hello")


async def test_trailers_of_an_answer_are_dropped() -> None:
    """An answer's trailers end here (RFC 9110 section 6.5.1), the body is whole without them."""
    play = (
        HEAD + b"Transfer-Encoding: chunked\r\nTrailer: X\r\n\r\n5\r\nhello\r\n0\r\nX: evil\r\n\r\n"
    )
    async with playbook(play=play) as p:
        link = await p.connect()
        await link.send(request("GET", "/") + request("GET", "/2", {"Connection": "close"}))
        told = await link.rest()
        assert b"evil" not in told
        assert told.count(b"\r\n0\r\n\r\n") == 2


@pytest.mark.parametrize("framing", [b"Content-Length: 100", b"Transfer-Encoding: chunked"])
async def test_a_backend_gone_mid_body_shows_as_a_cut(framing: bytes) -> None:
    """A body that the backend did not finish is short for the client too, and the connection ends; never a whole one."""

    async def cut(_request: Message, link: Link) -> None:
        piece = b"hello" if b"Length" in framing else b"5\r\nhello\r\n"
        await link.send(HEAD + framing + b"\r\n\r\n" + piece)
        link.close()

    async with playbook(play=cut) as p:
        link = await p.connect()
        answer = await p.request("GET", "/", link=link)
        assert (answer.status, answer.whole, answer.body) == (200, False, b"hello")
        assert await link.rest() == b""
        line = (await p.logged())[0]
        assert (line["status"], line["code"], line["reason"]) == (
            200,
            "upstream_invalid",
            "truncated",
        )


async def test_a_cut_shows_to_http_1_0_too() -> None:
    """Where the end of the connection is the end of the body, a cut one ends with a reset."""

    async def cut(_request: Message, link: Link) -> None:
        await link.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
        await asyncio.sleep(0.02)
        link.close()

    async with playbook(play=cut) as p:
        link = await p.connect()
        await link.send(b"GET / HTTP/1.0\r\nHost: a\r\n\r\n")
        with pytest.raises(ConnectionResetError):
            await asyncio.wait_for(link.reader.read(), 2)


async def test_a_silent_body_is_cut() -> None:
    """A body in which the backend is silent for longer than `idle` ends, as a cut."""

    async def stalls(_request: Message, link: Link) -> None:
        await link.send(HEAD + b"Content-Length: 100\r\n\r\nhello")
        await link.reader.read()

    async with playbook(play=stalls, timeouts={"idle": "200ms"}) as p:
        answer = await p.request("GET", "/")
        assert (answer.whole, answer.body) == (False, b"hello")
        assert (await p.logged())[0]["code"] == "upstream_timeout"


async def test_each_piece_passes_as_it_comes() -> None:
    """Nothing waits to be full: an event of a stream is with the client before the next is made."""
    go = asyncio.Event()

    async def events(_request: Message, link: Link) -> None:
        await link.send(
            HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        for number in range(3):
            await link.send(b"9\r\ndata: %d\n\n\r\n" % number)
            await go.wait()
            go.clear()
        await link.send(b"0\r\n\r\n")

    async with playbook(play=events) as p:
        link = await p.connect()
        await link.send(request("GET", "/events"))
        await link.head()
        for number in range(3):
            assert await link.reader.readexactly(14) == b"9\r\ndata: %d\n\n\r\n" % number
            go.set()
        assert await link.reader.readexactly(5) == b"0\r\n\r\n"


class Flood:
    """A backend that sends without end; `sent` is how much left."""

    def __init__(self) -> None:
        self.sent = 0

    async def __call__(self, _request: Message, link: Link) -> None:
        await link.send(HEAD + b"Content-Length: 1000000000\r\n\r\n")
        while True:
            await link.send(b"x" * 65536)
            self.sent += 65536


async def test_a_client_that_never_reads_holds_little_and_not_for_long() -> None:
    """Back-pressure reaches the backend (memory stays flat); after `idle` of taking nothing the client is dropped."""
    flood = Flood()
    async with playbook(play=flood, timeouts={"idle": "500ms"}) as p:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        link = await p.connect()
        link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await link.send(request("GET", "/"))
        await until(lambda: flood.sent)
        line = (await p.logged())[0]
        assert (line["status"], line["code"]) == (200, "client_gone")
        assert flood.sent < 50_000_000  # what the sockets of both ends hold
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000
        await until(lambda: p.backend.gone == 1)
        await until(lambda: not p.worker._servers[0].count)


async def test_who_pipelines_and_never_reads_is_dropped() -> None:
    """Answers to pipelined requests do not pile up in memory: the next one is made when there is room for it."""
    body = b"x" * 60_000
    play = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    async with playbook(play=play, bounds={"keepalive": "500ms"}) as p:
        link = await p.connect()
        link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        link.writer.write(request("GET", "/") * 2000)
        await until(lambda: not p.worker._servers[0].count)
        assert len(p.backend.seen) < 300


async def test_what_was_written_reaches_a_slow_client() -> None:
    """A client that is slow but reads gets all of its answer, also after the connection was closed on our side."""
    body = b"y" * 3_000_000
    play = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with playbook(play=play) as p:
        link = await p.connect()
        await link.send(request("GET", "/", {"Connection": "close"}))
        await asyncio.sleep(0.1)
        answer = await link.answer()
        assert (answer.whole, answer.body == body) == (True, True)


async def test_set_headers_cannot_inject() -> None:
    """A value of a policy that holds a line end or a control byte is left out, never written."""
    route = OPEN | {
        "headers": {"set": {"X-Agent": 'request.headers["x-in"]', "X-Path": "request.path"}}
    }
    async with playbook(route) as p:
        seen = (await p.request("GET", "/a%20b", {"X-In": "ok"})).seen[0]
        assert (seen.field("x-agent"), seen.field("x-path")) == ("ok", "/a b")
        assert (await p.request("GET", "/%0d%0aX-Forwarded-User:%20evil")).code == "bad_request"


async def test_kept_names_are_few_and_short() -> None:
    """A backend that makes up names cannot fill our memory with them."""
    names = b"".join(b"X-%d-%b: 1\r\n" % (n, b"y" * 200) for n in range(100))
    play = in_turn(answering(HEAD + names + b"Content-Length: 0\r\n\r\n"), answering(HELLO))
    async with playbook(play=play) as p:
        before = len(delivery._KNOWN)
        answer = await p.request("GET", "/")
        assert len(answer.lines) == 102
        assert len(delivery._KNOWN) <= before + 1
