"""Streams end when the identity does: WebSockets with 1008, event streams cut, and the log says why."""

import time

from authproxy.authn.revocation import Revocations
from authproxy.model.identity import Identity
from authproxy.web.streams import Stream
from tests.playbook import GUARDED, Proxy, playbook, token
from tests.web.test_tunnel import accepting, opened
from tests.wire import Link, Message, request, until

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
