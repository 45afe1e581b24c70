"""The request to the backend: bodies both ways, retries, time, and what becomes of it when an end goes away."""

import asyncio
import re
from typing import Any

import pytest

from authproxy.web import relay
from tests.playbook import playbook, token
from tests.wire import HELLO, Link, Message, Play, answering, in_turn, request, until

CHUNKED = {"Transfer-Encoding": "chunked"}
QUICK: dict[str, Any] = {"timeouts": {"connect": "300ms", "response": "300ms", "idle": "300ms"}}


async def closing(_request: Message, link: Link) -> None:
    """A backend that goes away without a word."""
    link.close()


async def silent(_request: Message, link: Link) -> None:
    """A backend that says nothing, until we go."""
    await link.reader.read()


async def unread(_request: Message, link: Link) -> None:
    """A backend that answers before it has read the body, and reads no more."""
    await link.send(HELLO)
    await asyncio.sleep(1)


async def test_a_body_passes_byte_for_byte() -> None:
    """A body of a declared length arrives as it is, however it was cut on its way."""
    body = bytes(range(256)) * 1000
    async with playbook() as p:
        answer = await p.request("POST", "/", {"Content-Encoding": "gzip"}, body)
        assert (answer.status, answer.seen[0].body) == (200, body)
        assert answer.seen[0].field("content-length") == str(len(body))
        assert answer.seen[0].field("content-encoding") == "gzip"
        assert (await p.logged())[0]["bytes_in"] == len(body)


async def test_a_chunked_body_stays_chunked() -> None:
    """Chunks are framed anew: extensions and trailers (CVE-2026-22815: identity headers hide there) end here."""
    body = b"3;ext=1\r\nabc\r\n2\r\nde\r\n0\r\nX-Forwarded-User: evil\r\n\r\n"
    async with playbook() as p:
        link = await p.connect()
        answer = await p.request("POST", "/", CHUNKED, body, link=link)
        assert answer.seen[0].body == b"abcde"
        assert answer.seen[0].field("transfer-encoding") == "chunked"
        again = await p.request("GET", "/next", link=link)
        assert again.seen[0].start == "GET /next HTTP/1.1"
        assert again.seen[0].connection == answer.seen[0].connection


@pytest.mark.parametrize(
    "body",
    ["5\r\nhelloXX0\r\n\r\n", "5;a\nhello\r\n0\r\n\r\n", "fffffffffffffffff\r\n", "0x5\r\nhello\r\n", "-1\r\n", "\r\n"],
)  # fmt: skip
async def test_trap_parser_giving_up_mid_body_ends_the_reader(body: str) -> None:
    """Where the parser gives up in a body, the request ends as `bad_request` at once, and its backend's connection too."""
    async with playbook() as p:
        told = await p.raw(request("POST", "/", CHUNKED, b"1\r\nx\r\n") + body.encode())
        assert told.startswith(b"HTTP/1.1 400 ")
        assert told.count(b"HTTP/1.1 ") == 1
        assert (await p.logged())[0]["code"] == "bad_request"
        await until(lambda: p.backend.gone == p.backend.connections)


async def test_trap_parser_giving_up_in_a_pipelined_body() -> None:
    """The same where the broken body belongs to a request that still waits its turn."""
    gate = asyncio.Event()

    async def gated(_request: Message, link: Link) -> None:
        await gate.wait()
        await link.send(HELLO)

    async with playbook(play=in_turn(gated, answering(HELLO))) as p:
        link = await p.connect()
        await link.send(request("GET", "/1"))
        await until(lambda: p.backend.seen)
        await link.send(request("POST", "/2", CHUNKED, b"1\r\nx\r\n"))
        await link.send(b"oops\r\n")
        await asyncio.sleep(0.05)
        gate.set()
        assert (await link.answer()).status == 200
        assert (await link.answer()).code == "bad_request"
        assert await link.rest() == b""


async def test_an_early_answer_to_an_unfinished_upload() -> None:
    """An answer that comes before the upload's end is passed on at once; then the connection ends, and nothing in it is a request."""
    async with playbook(play=unread) as p:
        link = await p.connect()
        await link.send(request("POST", "/", {"Content-Length": "1000000"}, b"x" * 1000))
        answer = await link.answer()
        assert (answer.status, answer.body, answer.field("connection")) == (200, b"hello", "close")
        await link.send(request("GET", "/smuggled"))
        link.writer.write_eof()
        assert await link.rest() == b""
        assert len(p.backend.seen) == 1


async def test_an_early_answer_goes_on_with_the_upload() -> None:
    """A backend may answer while it reads (RFC 9112 section 9.5): both directions flow at once."""

    async def echo(request: Message, link: Link) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        request.body = await link.body(request.head)
        await link.send(request.body)

    async with playbook(play=echo) as p:
        link = await p.connect()
        await link.send(request("POST", "/", {"Content-Length": "3"}))
        assert b"200 OK" in await link.head()
        assert await link.reader.readexactly(3) == b"abc"
        await link.send(b"xyz")
        assert await link.reader.readexactly(3) == b"xyz"


async def test_trap_expect_does_not_hang_nor_precede_authorization() -> None:
    """A 100 comes from us, once, and only when the request is admitted; the backend never sees Expect."""
    fields = {"Expect": "100-continue", "Content-Length": "5"}
    async with playbook() as p:
        refused = await p.request("POST", "/guarded/1", fields)
        assert (refused.code, refused.interims, refused.field("connection")) == (
            "unauthenticated",
            [],
            "close",
        )
        link = await p.connect()
        await link.send(request("POST", "/guarded/1", fields, token=token()))
        assert await link.head() == b"HTTP/1.1 100 Continue\r\n\r\n"
        await link.send(b"hello")
        answer = await link.answer()
        assert (answer.status, answer.interims) == (200, [])
        assert p.backend.seen[-1].body == b"hello"
        assert p.backend.seen[-1].field("expect") is None


async def test_expect_in_http_1_0_is_ignored() -> None:
    """RFC 9110 section 10.1.1: who speaks HTTP/1.0 is sent no 100."""
    async with playbook() as p:
        head = b"POST / HTTP/1.0\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi"
        told = await p.raw(head)
        assert b"100 Continue" not in told
        assert told.startswith(b"HTTP/1.1 200 ")


async def test_a_backend_that_says_100_by_itself() -> None:
    """A 100 of the backend's own is not passed on: the client was told already, or did not ask."""
    async with playbook(play=b"HTTP/1.1 100 Continue\r\n\r\n" + HELLO) as p:
        answer = await p.request("POST", "/", {}, b"x")
        assert (answer.status, answer.interims) == (200, [])


async def test_a_stale_connection_is_replaced_for_idempotent_methods_only() -> None:
    """A pooled connection that died unseen: GET is sent again on a fresh one, POST is not (RFC 9110 section 9.2.2)."""

    async def then_gone(request: Message, link: Link) -> None:
        await link.send(HELLO)
        await link.head()
        link.close()

    for method, status in (("GET", 200), ("DELETE", 200), ("POST", 502)):
        async with playbook(play=in_turn(then_gone, answering(HELLO))) as p:
            link = await p.connect()
            assert (await p.request("GET", "/first", link=link)).status == 200
            answer = await p.request(method, "/again", link=link)
            assert answer.status == status
            assert answer.code == ("upstream_invalid" if status == 502 else "")
            await p.canary()


async def test_a_body_is_never_sent_twice() -> None:
    """A body that has begun to leave cannot be sent again, whatever the method."""

    async def then_gone(request: Message, link: Link) -> None:
        await link.send(HELLO)
        await link.head()
        link.close()

    async with playbook(play=in_turn(then_gone, answering(HELLO))) as p:
        link = await p.connect()
        await p.request("GET", "/first", link=link)
        answer = await p.request("PUT", "/again", (), b"body", link=link)
        assert answer.code == "upstream_invalid"


@pytest.mark.parametrize(
    ("play", "status", "code"),
    [
        (closing, 502, "upstream_invalid"),
        (silent, 504, "upstream_timeout"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nx"), 502, "upstream_invalid"),
        (answering(b"HTTP/1.1 200 OK\rX: y\r\nContent-Length: 0\r\n\r\n"), 502, "upstream_invalid"),
        (answering(b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n"), 502, "upstream_invalid"),
        (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n"), 502, "upstream_invalid"),
        (answering(b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello"), 502, "upstream_invalid"),
        (answering(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n"), 502, "upstream_invalid"),
        (answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50), 502, "upstream_invalid"),
        (answering(b"garbage\r\n\r\n"), 502, "upstream_invalid"),
        (answering(b"HTTP/2 200\r\n\r\n"), 502, "upstream_invalid"),
    ],
)  # fmt: skip
async def test_a_backend_that_fails_is_a_code(play: Play, status: int, code: str) -> None:
    """Whatever a backend does wrong before its answer is a 502 or a 504 of ours, and the next request is clean."""
    async with playbook(play=in_turn(play, answering(HELLO)), **QUICK) as p:
        link = await p.connect()
        answer = await p.request("GET", "/", link=link)
        assert (answer.status, answer.code) == (status, code)
        assert (await p.request("GET", "/again", link=link)).body == b"hello"
        line = (await p.logged())[0]
        assert (line["code"], line["decision"], line["upstream"]) == (code, "allow", "backend")


async def test_an_upstream_that_is_not_there() -> None:
    """Nobody listens: 502 `upstream_unreachable`."""
    upstreams = {"backend": {"servers": ["http://127.0.0.1:1"]}}
    async with playbook(upstreams=upstreams) as p:
        assert (await p.request("GET", "/")).code == "upstream_unreachable"
        assert (await p.request("POST", "/", (), b"x")).code == "upstream_unreachable"


async def test_trap_a_clients_leaving_cancels_the_backend_at_once() -> None:
    """A client that leaves ends the backend's work at once, with and without a body; the log says 499."""
    for body, length in ((b"", "0"), (b"abc", "1000")):
        async with playbook(play=silent) as p:
            link = await p.connect()
            await link.send(request("POST", "/", {"Content-Length": length}, body))
            await until(lambda p=p: p.backend.seen)  # type: ignore[misc]
            link.abort()
            await until(lambda p=p: p.backend.gone == 1, within=0.5)  # type: ignore[misc]
            line = (await p.logged())[0]
            assert (line["status"], line["code"], line["decision"]) == (499, "client_gone", "allow")


async def test_body_bytes_holds_in_the_middle_of_chunks() -> None:
    """A body over the bound is `body_too_large`: at its head where it says so, else as soon as it is; the backend sees it cut."""
    async with playbook(bounds={"body_bytes": 100}) as p:
        assert (await p.request("POST", "/", (), b"x" * 101)).code == "body_too_large"
        assert p.backend.seen == []
        assert (await p.request("POST", "/", (), b"x" * 100)).status == 200
        link = await p.connect()
        await link.send(request("POST", "/", CHUNKED, b"32\r\n" + b"x" * 50 + b"\r\n"))
        await until(lambda: len(p.backend.seen) == 2)
        await link.send(b"33\r\n" + b"x" * 51 + b"\r\n0\r\n\r\n" + request("GET", "/smuggled"))
        answer = await link.answer()
        assert (answer.code, answer.field("connection")) == ("body_too_large", "close")
        assert await link.rest() == b""
        assert len(p.backend.seen) == 2
        assert [line["code"] for line in await p.logged(3)] == [
            "body_too_large",
            None,
            "body_too_large",
        ]


async def test_a_body_that_drips_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Below `body_rate` a body is `request_timeout`; a slow backend is not held against the client."""
    monkeypatch.setattr(relay._Pace, "GRACE", 0.1)
    async with playbook(bounds={"body_rate": "1KiB/s"}) as p:
        link = await p.connect()
        await link.send(request("POST", "/", {"Content-Length": "1000"}, b"x"))
        answer = await link.answer()
        assert (answer.code, answer.field("connection")) == ("request_timeout", "close")
        assert (await p.logged())[0]["code"] == "request_timeout"


async def test_a_slow_backend_is_not_the_clients_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time that we wait for the backend to read is not counted as the client's."""
    monkeypatch.setattr(relay._Pace, "GRACE", 0.05)

    async def slow(request: Message, link: Link) -> None:
        await asyncio.sleep(0.25)
        request.body = await link.body(request.head)
        await link.send(HELLO)

    async with playbook(play=slow, bounds={"body_rate": "1MiB/s"}) as p:
        body = b"x" * 6_000_000
        answer = await p.request("POST", "/", (), body)
        assert (answer.status, len(answer.seen[0].body)) == (200, len(body))


async def test_an_upload_that_fails_after_the_answer_began_is_named() -> None:
    """The log names what ended the exchange (the body was too large), not what followed from it."""

    async def early(_request: Message, link: Link) -> None:
        await link.send(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        await link.reader.read()

    async with playbook(play=early, bounds={"body_bytes": 10}) as p:
        link = await p.connect()
        await link.send(request("POST", "/", CHUNKED, b"1\r\nx\r\n"))
        assert b"200 OK" in await link.head()
        await link.send(b"32\r\n" + b"x" * 50 + b"\r\n")
        assert await link.rest() == b"abc"
        line = (await p.logged())[0]
        assert (line["status"], line["code"]) == (200, "body_too_large")


async def test_two_users_of_one_pool_never_meet() -> None:
    """On one pooled connection each exchange is its own: headers, cookies and bodies of one never show in the other."""

    async def personal(request: Message, link: Link) -> None:
        user = request.field("x-forwarded-user") or "nobody"
        body = user.encode() * 3
        head = f"HTTP/1.1 200 OK\r\nSet-Cookie: id={user}\r\nContent-Length: {len(body)}\r\n\r\n"
        await link.send(head.encode() + body)

    async with playbook(play=personal) as p:
        for user in ("alice", "bob", "alice", None):
            target = "/guarded/1" if user else "/"
            answer = await p.request("GET", target, token=token(user) if user else None)
            assert answer.body == (user or "nobody").encode() * 3
            assert answer.all("set-cookie") == [f"id={user or 'nobody'}"]
        assert {seen.connection for seen in p.backend.seen} == {1}


async def test_what_is_left_over_is_never_anothers_answer() -> None:
    """Bytes after an answer belong to no request: the connection that carried them is dropped."""
    async with playbook(play=HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil") as p:
        for _ in range(3):
            assert (await p.request("GET", "/")).body == b"hello"
        assert {seen.connection for seen in p.backend.seen} == {1, 2, 3}


async def test_a_head_to_a_head_request() -> None:
    """HEAD is answered without a body whatever its head says, and the next answer on the connection is not taken for one."""
    play = in_turn(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"), answering(HELLO))
    async with playbook(play=play) as p:
        link = await p.connect()
        answer = await p.request("HEAD", "/", link=link)
        assert (answer.field("content-length"), answer.body) == ("99", b"")
        assert (await p.request("GET", "/", link=link)).body == b"hello"
        assert p.backend.connections == 1


async def test_the_upstreams_own_host() -> None:
    """`host: upstream` tells the backend its own name, any other word that word; X-Forwarded-Host keeps the client's."""
    for host, expected in (("upstream", r"127\.0\.0\.1:\d+"), ("in.test", "in.test")):
        async with playbook(upstream={"host": host}) as p:
            seen = (await p.request("GET", "/")).seen[0]
            assert re.fullmatch(expected, seen.field("host") or "")
            assert seen.field("x-forwarded-host") == "proxy.test"
