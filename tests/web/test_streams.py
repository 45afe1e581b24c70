"""Streams end when the identity does: WebSockets with 1008, everything else cut, and the log says why."""

import asyncio
import time

import pytest

from authproxy.authn.revocation import Revocations, revoke_subject
from authproxy.model.identity import Identity
from authproxy.web.streams import Stream
from tests.playbook import GUARDED, Proxy, playbook, token
from tests.web.test_tunnel import accepting, opened
from tests.wire import HELLO, Link, Message, request, until

EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def streams(p: Proxy) -> set[Stream]:
    """What the worker looks at."""
    return p.worker._servers[0].streams


async def events(_request: Message, link: Link) -> None:
    """A backend whose events go on until the connection ends."""
    await link.send(EVENTS + b"3\r\na\n\n\r\n")
    await link.reader.read()


def test_a_stream_ends_once_its_time_has_come() -> None:
    """Not before, and not twice."""
    ends: list[int] = []
    stream = Stream(Identity("tokens", "ann"), 100.0, lambda: ends.append(1))
    stream.look(99.9, Revocations())
    assert (stream.code, ends) == ("", [])
    stream.look(100.0, Revocations())
    stream.look(101.0, Revocations())
    assert (stream.code, ends) == ("token_expired", [1])


async def test_a_websocket_ends_with_its_token() -> None:
    """Contract section 5: at `exp` plus leeway, close code 1008, within 2 s."""
    async with playbook(play=accepting()) as p:
        link = await opened(p, "/guarded/ws", token(ttl=600))
        (stream,) = streams(p)
        assert 628 < stream.ends_at - time.time() < 631  # ttl and the default leeway
        stream.ends_at = 0.0
        assert await link.reader.readexactly(4) == b"\x88\x02\x03\xf0"
        assert await link.reader.read() == b""
        (line,) = await p.logged()
        assert (line["code"], line["reason"]) == ("token_expired", "stream")


async def test_an_event_stream_ends_with_its_token() -> None:
    """It is cut: no last chunk says that it was whole."""
    async with playbook(play=events) as p:
        link = await p.connect()
        await link.send(request("GET", "/guarded/events", token=token(ttl=600)))
        await link.head()
        assert await link.reader.readexactly(8) == b"3\r\na\n\n\r\n"
        await until(lambda: len(streams(p)) == 1)
        next(iter(streams(p))).ends_at = 0.0
        assert b"0\r\n\r\n" not in await rest(link)
        (line,) = await p.logged()
        assert (line["status"], line["code"]) == (200, "token_expired")


async def rest(link: Link) -> bytes:
    """What still comes; a reset ends it as well."""
    try:
        return await link.reader.read()
    except ConnectionError:
        return b""


async def test_a_route_may_let_its_streams_finish() -> None:
    """`streams: finish` keeps them from being looked at."""
    async with playbook(GUARDED | {"streams": "finish"}, play=accepting()) as p:
        link = await opened(p, "/guarded/ws", token())
        assert not streams(p)
        link.close()


async def test_a_stream_without_an_identity_never_ends_by_itself() -> None:
    """Nobody's `exp` is no end."""
    async with playbook(play=accepting()) as p:
        link = await opened(p, "/ws")
        assert not streams(p)
        link.close()


async def test_a_stream_that_is_over_is_forgotten() -> None:
    """The set holds what is open, and nothing else."""
    async with playbook(play=accepting()) as p:
        link = await opened(p, "/guarded/ws", token())
        assert len(streams(p)) == 1
        link.close()
        await until(lambda: not streams(p))


async def revoke(p: Proxy, subject: str = "alice") -> None:
    """What `token revoke --subject` does, in the records of this worker; it finds out by itself."""
    now = time.time()
    await revoke_subject(p.runtime.records, "tokens", subject, now + 60, now)


async def test_a_websocket_ends_when_it_is_revoked() -> None:
    """Close code 1008 within 2 s, while another subject's goes on."""
    async with playbook(play=accepting()) as p:
        link = await opened(p, "/guarded/ws", token())
        other = await opened(p, "/guarded/ws", token("bob"))
        begun = time.monotonic()
        await revoke(p)
        assert await link.reader.readexactly(4) == b"\x88\x02\x03\xf0"
        assert await link.reader.read() == b""
        assert time.monotonic() - begun < 2
        (line,) = await p.logged()
        assert (line["code"], line["reason"], line["subject"]) == (
            "token_revoked",
            "stream",
            "alice",
        )
        assert len(streams(p)) == 1
        other.close()


DRIP = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"
LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"


@pytest.mark.parametrize("head", [EVENTS, DRIP, LENGTH])
async def test_a_download_ends_when_it_is_revoked(head: bytes) -> None:
    """It is cut where it is, so that nobody takes it for whole; the log has the answer's status and why."""

    async def play(_request: Message, link: Link) -> None:
        await link.send(head + b"1\r\na\r\n")
        await link.reader.read()

    async with playbook(play=play) as p:
        link = await p.connect()
        await link.send(request("GET", "/guarded/long", token=token()))
        await link.head()
        await until(lambda: len(streams(p)) == 1)
        begun = time.monotonic()
        await revoke(p)
        assert b"0\r\n\r\n" not in await rest(link)
        assert time.monotonic() - begun < 2
        (line,) = await p.logged()
        assert (line["status"], line["code"], line["reason"]) == (200, "token_revoked", "stream")
        assert not streams(p)


async def test_a_download_that_nobody_reads_ends_too() -> None:
    """A client that has stopped reading does not hold its stream open."""

    async def play(_request: Message, link: Link) -> None:
        try:
            await link.send(DRIP)
            while True:
                await link.send(b"10000\r\n" + bytes(65536) + b"\r\n")
        except ConnectionError:
            return

    async with playbook(play=play) as p:
        link = await p.connect()
        await link.send(request("GET", "/guarded/long", token=token()))
        await until(lambda: any(c.writing_paused for c in p.worker._servers[0].connections))
        begun = time.monotonic()
        await revoke(p)
        (line,) = await p.logged()
        assert time.monotonic() - begun < 2
        assert (line["code"], line["reason"]) == ("token_revoked", "stream")


async def test_an_upload_ends_when_it_is_revoked() -> None:
    """A body that is still coming is not waited for: 401 `token_revoked` with its challenge, and the connection ends."""

    async def play(seen: Message, link: Link) -> None:
        await link.reader.read()

    async with playbook(play=play) as p:
        link = await p.connect()
        head = request("POST", "/guarded/up", {"Content-Length": "1000000"}, token=token())
        await link.send(head + b"x" * 1000)
        await until(lambda: len(streams(p)) == 1)
        begun = time.monotonic()
        await revoke(p)
        answer = await link.answer()
        assert time.monotonic() - begun < 2
        assert (answer.status, answer.code) == (401, "token_revoked")
        assert (answer.field("www-authenticate") or "").startswith("Bearer ")
        assert answer.field("connection") == "close"
        (line,) = await p.logged()
        assert (line["code"], line["reason"]) == ("token_revoked", "stream")


async def test_what_was_revoked_before_its_answer_came_is_cut() -> None:
    """A stream that begins after its identity was revoked ends at once."""
    gate = asyncio.Event()

    async def play(_request: Message, link: Link) -> None:
        await gate.wait()
        await link.send(DRIP + b"1\r\na\r\n")
        await link.reader.read()

    async with playbook(play=play) as p:
        link = await p.connect()
        await link.send(request("GET", "/guarded/long", token=token()))
        await until(lambda: p.backend.seen)
        await revoke(p)
        await until(lambda: p.runtime.revocations.changes)
        gate.set()
        await link.head()
        await rest(link)
        (line,) = await p.logged()
        assert line["code"] == "token_revoked"


async def test_a_small_answer_is_no_stream() -> None:
    """What is whole at once is not watched: neither the answer, nor a body that came with its head."""
    watching: list[int] = []

    async def play(seen: Message, link: Link) -> None:
        seen.body = await link.body(seen.head)
        watching.append(len(streams(p)))
        await link.send(HELLO)

    async with playbook(play=play) as p:
        for body in (b"", b"x" * 500):
            answer = await p.request("POST", "/guarded/1", (), body, token=token())
            assert answer.status == 200
    assert watching == [0, 0]


async def test_a_download_does_not_end_with_its_token() -> None:
    """Contract section 5: at `exp` only WebSockets and event streams end."""

    async def play(_request: Message, link: Link) -> None:
        await link.send(DRIP)
        await link.reader.read()

    async with playbook(play=play) as p:
        link = await p.connect()
        await link.send(request("GET", "/guarded/long", token=token()))
        await link.head()
        await until(lambda: len(streams(p)) == 1)
        assert next(iter(streams(p))).ends_at == float("inf")
        link.close()


async def test_a_route_may_let_what_was_revoked_finish() -> None:
    """`streams: finish` lets what outlives its identity end by itself; the next request is refused."""
    async with playbook(GUARDED | {"streams": "finish"}, play=accepting()) as p:
        link = await opened(p, "/guarded/ws", token())
        await revoke(p)
        await until(lambda: p.runtime.revocations.changes)
        assert not streams(p)
        before = token(now=time.time() - 5)
        assert (await p.request("GET", "/guarded/1", token=before)).code == "token_revoked"
        link.close()
