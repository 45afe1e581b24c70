"""WebSockets: opened by a right 101 and nothing else, raw in between, and ended in peace."""

import asyncio
import gc
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve

from authproxy.web.tunnel import Frames, accept_for
from tests.playbook import Proxy, playbook, token
from tests.wire import Link, Message, Play, request, until

KEY = "dGhlIHNhbXBsZSBub25jZQ=="  # RFC 6455 section 1.3, with its answer
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
SWITCH = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
HANDSHAKE = {
    "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": KEY,
}  # fmt: skip


def accepting(after: bytes = b"") -> Play:
    """A backend that accepts, says these bytes at once, and echoes what comes."""

    async def play(request: Message, link: Link) -> None:
        accept = accept_for(request.field("sec-websocket-key") or "").decode()
        head = f"{SWITCH}Sec-WebSocket-Accept: {accept}\r\nX-Secret: 1\r\nKeep-Alive: timeout=1\r\nSet-Cookie: __Host-authproxy=evil; Path=/; Secure\r\n\r\n"
        await link.send(head.encode() + after)
        while data := await link.reader.read(65536):
            request.body += data
            await link.send(data)
        link.close()

    return play


async def opened(p: Proxy, target: str = "/ws", credential: str | None = None) -> Link:
    """A tunnel, its handshake done."""
    link = await p.connect()
    await link.send(request("GET", target, HANDSHAKE, token=credential))
    assert (await link.head()).startswith(b"HTTP/1.1 101 ")
    return link


def test_the_answer_to_a_key() -> None:
    """RFC 6455 section 1.3's own example."""
    assert accept_for(KEY).decode() == ACCEPT


async def test_bytes_pass_both_ways() -> None:
    """After the 101 both directions are raw; the handshake carries our headers and nothing of the client's connection."""
    async with playbook(play=accepting(b"\x81\x02hi")) as p:
        link = await opened(p, "/guarded/ws", token("alice"))
        assert await link.reader.readexactly(4) == b"\x81\x02hi"
        await link.send(b"\x82\x03abc")
        assert await link.reader.readexactly(5) == b"\x82\x03abc"
        seen = p.backend.seen[0]
        assert (seen.field("upgrade"), seen.field("connection")) == ("websocket", "Upgrade")
        assert seen.field("x-forwarded-user") == "alice"
        assert seen.field("authorization") is None


async def test_the_101_passes_like_every_answer() -> None:
    """Its own fields with the handshake's; not what is hop-by-hop, and not a cookie that would pass for our session."""
    async with playbook(play=accepting()) as p:
        link = await p.connect()
        await link.send(request("GET", "/ws", HANDSHAKE))
        names = {name for name, _ in Message(await link.head()).lines}
        assert names == {
            "connection",
            "upgrade",
            "sec-websocket-accept",
            "x-request-id",
            "x-secret",
        }


async def test_real_ends_and_compression() -> None:
    """Real ends on both sides agree on permessage-deflate through us, and part with 1000."""

    async def echo(ws: ServerConnection) -> None:
        async for message in ws:
            await ws.send(message)

    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with playbook(upstream={"servers": [f"http://127.0.0.1:{port}"]}) as p:
            where = "ws://{}:{}/ws".format(*p.addresses[0])
            async with connect(where, proxy=None) as ws:
                await ws.send("hello" * 10_000)
                assert await ws.recv() == "hello" * 10_000
                assert ws.response is not None
                assert "permessage-deflate" in ws.response.headers["Sec-WebSocket-Extensions"]
            assert ws.close_code == 1000


@pytest.mark.parametrize(
    "answer",
    [
        f"{SWITCH}Sec-WebSocket-Accept: {ACCEPT[::-1]}\r\n\r\n",
        f"{SWITCH}\r\n",
        f"{SWITCH}Sec-WebSocket-Accept: {ACCEPT}\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n",
        f"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n",
        f"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {ACCEPT}\r\n\r\n",
    ],
)
async def test_trap_101_with_a_wrong_accept(answer: str) -> None:
    """A 101 that does not answer this handshake opens nothing (CVE-2024-23326's class)."""
    async with playbook(play=answer.encode() + b"\x81\x02hi") as p:
        told = await p.raw(request("GET", "/ws", HANDSHAKE) + b"early bytes")
        assert told.startswith(b"HTTP/1.1 502 ")
        assert b"\x81\x02hi" not in told
        assert (await p.logged())[0]["code"] == "upstream_invalid"


async def test_trap_200_accepted_as_upgrade() -> None:
    """CVE-2024-23326: an answer other than 101 is a plain answer; no tunnel, and nothing after it is read."""
    async with playbook() as p:
        told = await p.raw(request("GET", "/ws", HANDSHAKE) + request("GET", "/smuggled"))
        assert told.count(b"HTTP/1.1 ") == 1
        assert told.endswith(b"hello")
        assert b"Connection: close\r\n" in told
        assert len(p.backend.seen) == 1


@pytest.mark.parametrize(
    "change",
    [{"Sec-WebSocket-Version": "8"}, {"Sec-WebSocket-Key": "short"}, {"Sec-WebSocket-Key": KEY + "="}, {"Content-Length": "3"}],
)  # fmt: skip
async def test_what_is_no_handshake_is_no_tunnel(change: dict[str, str]) -> None:
    """A handshake that RFC 6455 section 4.2.1 does not know is a plain request: no Upgrade passes, the connection ends."""
    async with playbook() as p:
        told = await p.raw(request("GET", "/ws", HANDSHAKE | change) + b"abc")
        assert told.startswith(b"HTTP/1.1 200 ")
        assert b"Connection: close\r\n" in told
        assert p.backend.seen[0].field("upgrade") is None


async def test_no_tunnel_without_authorization() -> None:
    """A refused handshake is refused like any request, and what came with it is dropped."""
    async with playbook(play=accepting()) as p:
        told = await p.raw(request("GET", "/guarded/ws", HANDSHAKE) + b"\x81\x02hi")
        assert told.startswith(b"HTTP/1.1 401 ")
        assert p.backend.seen == []


async def test_early_frames_wait_for_the_101() -> None:
    """What the client sends before the 101 reaches the backend only after it, in order and whole."""
    gate = asyncio.Event()

    async def late(request: Message, link: Link) -> None:
        await gate.wait()
        await accepting()(request, link)

    async with playbook(play=late) as p:
        link = await p.connect()
        await link.send(request("GET", "/ws", HANDSHAKE) + b"\x81\x01a")
        await link.send(b"\x81\x01b")
        await until(lambda: p.backend.seen)
        gate.set()
        await link.head()
        assert await link.reader.readexactly(6) == b"\x81\x01a\x81\x01b"


async def test_the_backends_end_is_the_clients() -> None:
    """When the backend leaves, what it said last arrives and the client's connection ends."""

    async def leaves(request: Message, link: Link) -> None:
        head = f"{SWITCH}Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n"
        await link.send(head.encode() + b"\x88\x02\x03\xe8")
        link.close()

    async with playbook(play=leaves) as p:
        link = await opened(p)
        assert await link.rest() == b"\x88\x02\x03\xe8"
        line = (await p.logged())[0]
        assert (line["status"], line["bytes_out"], line["decision"]) == (101, 4, "allow")


async def test_the_clients_last_words_arrive() -> None:
    """What a client says just before it leaves still reaches the backend."""
    async with playbook(play=accepting()) as p:
        link = await opened(p)
        await link.send(b"\x81\x04last\x88\x02\x03\xe8")
        link.close()
        await until(lambda: p.backend.gone == 1)
        assert p.backend.seen[0].body == b"\x81\x04last\x88\x02\x03\xe8"


async def test_back_pressure_both_ways() -> None:
    """A side that does not read stops the other; nothing piles up in between, and nothing is lost."""
    payload = os.urandom(3_000_000)
    async with playbook(play=accepting()) as p:
        link = await opened(p)
        sending = asyncio.get_running_loop().create_task(link.send(payload))
        await asyncio.sleep(0.1)
        got = b""
        while len(got) < len(payload):
            got += await link.reader.read(100_000)
        await sending
        assert got == payload


async def test_a_client_that_never_reads_is_dropped() -> None:
    """A tunnel whose client takes nothing for `idle` ends, though the backend would say more."""

    async def floods(request: Message, link: Link) -> None:
        await link.send(f"{SWITCH}Sec-WebSocket-Accept: {ACCEPT}\r\n\r\n".encode())
        while True:
            await link.send(b"\x82\x7e\xff\xff" + b"x" * 65535)

    async with playbook(play=floods, timeouts={"idle": "400ms"}) as p:
        link = await p.connect()
        link.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await link.send(request("GET", "/ws", HANDSHAKE))
        await until(lambda: p.backend.gone == 1)
        await until(lambda: not p.worker._servers[0].count)


async def test_a_silent_tunnel_ends() -> None:
    """A tunnel in which neither side speaks for `idle` ends; while either does it lives."""
    async with playbook(play=accepting(), timeouts={"idle": "200ms"}) as p:
        link = await opened(p)
        for _ in range(6):
            await link.send(b"\x89\x00")
            assert await link.reader.readexactly(2) == b"\x89\x00"
            await asyncio.sleep(0.05)
        assert await link.rest() == b""


async def test_a_drain_says_1001() -> None:
    """A drain ends each tunnel with 1001, after the frame that is under way; the client's answer reaches the backend."""
    async with playbook(play=accepting(b"\x81\x04ab")) as p:  # a frame of which half has come
        link = await opened(p)
        assert await link.reader.readexactly(4) == b"\x81\x04ab"
        p.worker.stop()
        await asyncio.sleep(0.05)
        await link.send(b"cd")  # echoed: the other half
        assert await link.reader.readexactly(6) == b"cd\x88\x02\x03\xe9"
        await link.send(b"\x88\x82\x00\x00\x00\x00\x03\xe9")
        await until(lambda: p.backend.seen[0].body.endswith(b"\x03\xe9"))
        link.close()
        await p.serving


async def test_a_tunnel_that_opens_during_a_drain_ends_too() -> None:
    """A handshake that was under way when the drain began is told 1001 as soon as it is done."""
    gate = asyncio.Event()

    async def late(request: Message, link: Link) -> None:
        await gate.wait()
        await accepting()(request, link)

    async with playbook(play=late) as p:
        link = await p.connect()
        await link.send(request("GET", "/ws", HANDSHAKE))
        await until(lambda: p.backend.seen)
        p.worker.stop()
        await until(lambda: p.worker._servers[0].draining)
        gate.set()
        await link.head()
        assert await link.reader.readexactly(4) == b"\x88\x02\x03\xe9"


def frame(payload: bytes, *, masked: bool) -> bytes:
    """A whole frame."""
    size = len(payload)
    mask = 0x80 if masked else 0
    if size < 126:
        head = bytes([0x82, mask | size])
    elif size < 65536:
        head = bytes([0x82, mask | 126]) + size.to_bytes(2, "big")
    else:
        head = bytes([0x82, mask | 127]) + size.to_bytes(8, "big")
    return head + (b"mask" if masked else b"") + payload


@given(
    st.lists(st.tuples(st.sampled_from([0, 1, 125, 126, 300, 65535, 65536]), st.booleans()), max_size=4),
    st.lists(st.integers(0, 1 << 18), max_size=5),
)  # fmt: skip
def test_frames_end_where_they_end(sizes: list[tuple[int, bool]], cuts: list[int]) -> None:
    """In whatever pieces frames come, they are known to be over exactly at their ends."""
    whole = [frame(b"x" * size, masked=masked) for size, masked in sizes]
    data = b"".join(whole)
    ends = {sum(map(len, whole[:n])) for n in range(len(whole) + 1)}
    frames, at = Frames(), 0
    for edge in sorted({min(cut, len(data)) for cut in cuts} | {len(data)}):
        boundary = frames.next_boundary(data[at:edge])
        later = [end for end in ends if at < end <= edge]
        assert boundary == (min(later) - at if later else None)
        frames.follow(data[at:edge])
        at = edge
        assert frames.between == (at in ends)


@pytest.mark.parametrize("backend_first", [True, False])
async def test_what_has_ended_is_gone_at_once(backend_first: bool) -> None:
    """Whoever ends it, and where both do at the same moment: no circle is left that would wait for the collector, and with it
    the request, its connections, and all the policies that it was let in by.
    """
    async with playbook(play=bidding_farewell if backend_first else accepting()) as p:
        (await opened(p)).close()
        await until(lambda: not p.worker._servers[0].tunnels)
        gc.collect()
        gc.set_debug(gc.DEBUG_SAVEALL)
        try:
            for _ in range(8):
                link = await opened(p)
                await link.send(b"\x88\x80\0\0\0\0")
                if backend_first:
                    await link.reader.read(2)
                link.close()
            await until(lambda: not p.worker._servers[0].tunnels)
            await asyncio.sleep(0.05)
            gc.collect()
            left = {type(x).__name__ for x in gc.garbage if type(x).__module__.startswith("authproxy.")}  # fmt: skip
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
        assert left == set()


async def bidding_farewell(request: Message, link: Link) -> None:
    """A backend that answers a close frame and hangs up."""
    accept = accept_for(request.field("sec-websocket-key") or "").decode()
    await link.send(f"{SWITCH}Sec-WebSocket-Accept: {accept}\r\n\r\n".encode())
    await link.reader.read(6)
    await link.send(b"\x88\x00")
    link.close()
