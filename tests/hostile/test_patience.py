"""Clients that are slow, greedy or silent (facts 57, 105-107, 112): bounded time, bounded memory, and nobody else waits."""

import asyncio
import time

from tests.hostile.attack import Answer, Client, connect
from tests.hostile.conftest import Target

MEBI = 1 << 20


async def first_answer(client: Client, seconds: float = 5.0) -> Answer | None:
    """The first answer, or None where the connection is closed without one."""
    async with asyncio.timeout(seconds):
        return await client.answer()


async def drip(client: Client, data: bytes, pause: float) -> None:
    """Write a byte at a time until the other side has had enough."""
    for at in range(len(data)):
        client.writer.write(data[at : at + 1])
        try:
            await client.writer.drain()
        except ConnectionError:
            return
        await asyncio.sleep(pause)


async def test_a_head_that_drips_is_cut(target: Target) -> None:
    """A head that is not there within `header_timeout` is `request_timeout`, however steadily it comes."""
    client = await connect(target.port)
    began = time.monotonic()
    dripping = asyncio.create_task(
        drip(client, b"GET /public/x HTTP/1.1\r\nHost: a.test\r\nX: " + b"y" * 400, 0.05)
    )
    answer = await first_answer(client)
    assert answer is not None
    assert (answer.status, answer.code) == (408, "request_timeout")
    assert 0.8 < time.monotonic() - began < 2.5
    dripping.cancel()
    client.writer.transport.abort()


async def test_a_connection_that_says_nothing_is_closed(target: Target) -> None:
    """A connection without a first byte, and one that is idle after an answer, are closed without a word."""
    silent, idle = await connect(target.port), await connect(target.port)
    idle.writer.write(b"GET /public/x HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert (await first_answer(idle)) is not None
    assert await asyncio.wait_for(silent.reader.read(), 3) == b""
    assert await asyncio.wait_for(idle.reader.read(), 4) == b""
    for client in (silent, idle):
        client.writer.transport.abort()


async def test_a_target_in_pieces_is_bounded(target: Target) -> None:
    """A target over `uri_bytes` is refused also when it comes in small pieces (aiohttp #12826)."""
    client = await connect(target.port)
    client.writer.write(b"GET /public/")
    for _ in range(64):
        client.writer.write(b"a" * 1024)
        await asyncio.sleep(0.001)
    client.writer.write(b" HTTP/1.1\r\nHost: a.test\r\n\r\n")
    answer = await first_answer(client)
    assert answer is None or answer.code in {"uri_too_long", "headers_too_large", "bad_request"}
    client.writer.transport.abort()
    assert not [seen for seen in target.recorder.seen if b"a" * 9000 in seen.target]


async def test_a_request_in_single_bytes_is_one_request(target: Target) -> None:
    """However the network cuts a request, it is the same request."""
    client = await connect(target.port)
    head = b"POST /public/bytes HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    await drip(client, head + b"5\r\nhello\r\n0\r\n\r\n", 0)
    answer = await first_answer(client)
    assert answer is not None
    assert (answer.status, answer.body) == (200, b"/public/bytes")
    client.writer.close()
    await client.writer.wait_closed()


async def test_a_thousand_pipelined_requests_are_answered_in_order(target: Target) -> None:
    """Pipelined requests are answered one after the other, each with its own echo (CVE-2026-54273)."""
    before = target.served.peak()
    client = await connect(target.port)
    count = 2000
    client.writer.write(
        b"".join(b"GET /public/p%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % n for n in range(count))
    )
    bodies = []
    for _ in range(count):
        answer = await first_answer(client)
        assert answer is not None
        bodies.append(answer.body)
    assert bodies == [b"/public/p%d" % n for n in range(count)]
    client.writer.transport.abort()
    assert target.served.peak() - before < 32 * MEBI


async def test_endless_pipelining_is_bounded(target: Target) -> None:
    """A client that pipelines without reading is stopped by flow control; the server's memory stays where it is."""
    before = target.served.peak()
    client = await connect(target.port)
    block = b"GET /public/flood HTTP/1.1\r\nHost: a.test\r\n\r\n" * 1000
    written = 0
    try:
        async with asyncio.timeout(1.5):
            while written < 64 * MEBI:
                client.writer.write(block)
                await client.writer.drain()
                written += len(block)
    except (TimeoutError, ConnectionError):
        pass
    client.writer.transport.abort()
    assert written < 64 * MEBI
    assert target.served.peak() - before < 32 * MEBI


async def test_tiny_chunks_cost_what_they_weigh(target: Target) -> None:
    """A hundred thousand chunks of one byte neither stop the loop nor change the body (CVE-2025-69229)."""
    target.recorder.clear()
    client = await connect(target.port)
    count = 100_000
    client.writer.write(
        b"POST /public/tiny HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"
    )
    client.writer.write(b"1\r\nx\r\n" * count + b"0\r\n\r\n")
    began = time.monotonic()
    other = await connect(target.port)
    other.writer.write(b"GET /public/other HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
    beside = await first_answer(other)
    waited = time.monotonic() - began
    answer = await first_answer(client, 20)
    assert beside is not None
    assert beside.body == b"/public/other"
    assert waited < 2
    assert answer is not None
    assert answer.status == 200
    assert [seen.body for seen in target.recorder.seen if seen.target == b"/public/tiny"] == [
        b"x" * count
    ]
    for one in (client, other):
        one.writer.transport.abort()


async def test_slow_clients_slow_nobody_else(target: Target) -> None:
    """Three hundred connections with half a head leave the others as quick as ever."""
    clients = await asyncio.gather(*(connect(target.port) for _ in range(300)))
    for client in clients:
        client.writer.write(b"GET /public/half HTTP/1.1\r\nHost: a.te")
    slowest = 0.0
    for _ in range(20):
        began = time.monotonic()
        quick = await connect(target.port)
        quick.writer.write(
            b"GET /public/quick HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        )
        answer = await first_answer(quick)
        assert answer is not None
        assert answer.body == b"/public/quick"
        slowest = max(slowest, time.monotonic() - began)
        quick.writer.transport.abort()
    for client in clients:
        client.writer.transport.abort()
    assert slowest < 0.5


async def test_a_body_that_stops_is_cut(target: Target) -> None:
    """A body slower than `body_rate` is `request_timeout`, and the connection ends (pause-based desynchronisation)."""
    client = await connect(target.port)
    client.writer.write(
        b"POST /public/stops HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\nhello"
    )
    answer = await first_answer(client, 10)
    assert answer is not None
    assert answer.code == "request_timeout"
    assert answer.closes
    client.writer.write(b"x" * 95 + b"GET /admin/after HTTP/1.1\r\nHost: a.test\r\n\r\n")
    assert await asyncio.wait_for(client.reader.read(), 5) == b""
    client.writer.transport.abort()
    assert not [seen for seen in target.recorder.seen if seen.target.startswith(b"/admin")]
