"""Streams both ways: memory stays flat, silence ends, progress does not, and tunnels carry bytes."""

import asyncio
import tracemalloc

import pytest

from authproxy.upstream.connection import HIGH_WATER, LINGER, Timeouts
from tests.upstream.backends import (
    HELLO,
    OK,
    QUICK,
    REQUEST,
    answering,
    ask,
    closing,
    connected,
    end_of,
    pool_to,
    read_all,
    refused,
    unplugged,
    until,
)
from tests.upstream.backends import backend as backend_that

MEBIBYTE = 1024 * 1024
SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_no_answer_in_time() -> None:
    """A backend that is silent after the request's last byte is given up after `response`."""
    async with backend_that(answering()) as behind, pool_to(behind.server) as pool:
        connection = await pool.connect()
        ask(connection)
        assert await refused(connection.head()) == ("upstream_timeout", "response")
        connection.release()
        assert (pool.busy_count, pool.idle_count) == (0, 0)


async def test_a_slow_request_is_no_slow_answer() -> None:
    """The time for an answer starts with the last byte of the request."""
    async with connected(answering(HELLO), Timeouts(response=0.1, idle=5)) as connection:
        connection.begin(b"POST")
        connection.write(REQUEST[:-2])
        await asyncio.sleep(0.25)
        connection.write(b"\r\n")
        connection.request_sent()
        assert (await connection.head()).status == 200


@pytest.mark.parametrize("answer", [HELLO[:-1], CHUNKED + b"4\r\nhell\r\n", OK + b"\r\nhell"])
async def test_silence_in_a_body(answer: bytes) -> None:
    """A body that stops is given up after `idle`, when what came has been passed on."""
    async with connected(answering(answer)) as connection:
        ask(connection)
        await connection.head()
        assert await connection.read() == b"hell"
        assert await refused(connection.read()) == ("upstream_timeout", "idle")


async def test_a_slow_body_is_no_silence() -> None:
    """A body may last longer than `idle` as long as bytes come."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: 5\r\n\r\n")
        for _ in range(5):
            await asyncio.sleep(0.1)
            writer.write(b"a")

    async with connected(script) as connection:
        ask(connection)
        await connection.head()
        assert await read_all(connection) == b"aaaaa"


async def test_large_bodies_need_no_memory() -> None:
    """64 MiB pass through a slow client's exchange in a few hundred KiB, and reading pauses meanwhile."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(OK + b"Content-Length: %d\r\n\r\n" % (64 * MEBIBYTE))
        for _ in range(64):
            writer.write(bytes(MEBIBYTE))
            await writer.drain()
        await reader.read()

    async with connected(script, Timeouts()) as connection:
        ask(connection)
        await connection.head()
        tracemalloc.start()
        try:
            await asyncio.sleep(0.1)  # the client is slow: the backend fills what it can
            total = 0
            while piece := await connection.read():
                assert len(piece) <= 2 * HIGH_WATER
                total += len(piece)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert total == 64 * MEBIBYTE
        assert peak < 8 * MEBIBYTE  # the backend's own pieces of 1 MiB are in it


async def test_reading_pauses_and_goes_on() -> None:
    """Over the high-water mark nothing more is read, nor does the silence count, until the body is taken."""
    connection, transport, shelf = unplugged()
    ask(connection)
    connection.data_received(OK + b"Content-Length: %d\r\n\r\n" % (4 * HIGH_WATER))
    connection.data_received(bytes(HIGH_WATER))
    assert transport.reading
    connection.data_received(bytes(HIGH_WATER))
    assert not transport.reading
    connection.look(asyncio.get_running_loop().time() + 3600)
    assert len(await connection.read()) == 2 * HIGH_WATER
    assert transport.reading
    connection.data_received(bytes(2 * HIGH_WATER))
    assert connection.complete
    connection.take()
    connection.release()
    assert shelf.kept == [connection]


async def test_a_slow_backend_holds_the_upload_back() -> None:
    """`drain` waits while the backend does not read, and goes on when it does."""
    go = asyncio.Event()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        while await reader.read(MEBIBYTE):
            pass

    async with connected(script, Timeouts()) as connection:
        connection.begin(b"POST")
        uploaded = 0

        async def upload() -> None:
            nonlocal uploaded
            while uploaded < 64:
                connection.write(bytes(MEBIBYTE))
                await connection.drain()
                uploaded += 1

        task = asyncio.create_task(upload())
        await asyncio.sleep(0.1)
        assert uploaded < 32
        go.set()
        async with asyncio.timeout(5):
            await task


async def test_a_backend_that_never_reads() -> None:
    """An upload that makes no progress for `idle` seconds is given up, and `head` says so too."""

    async def script(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(5)

    async with connected(script) as connection:
        connection.begin(b"POST")

        async def upload() -> None:
            while True:
                connection.write(bytes(MEBIBYTE))
                await connection.drain()

        assert await refused(upload()) == ("upstream_timeout", "write")
        assert await refused(connection.head()) == ("upstream_timeout", "write")


async def test_an_upload_that_progresses_is_not_given_up() -> None:
    """Each byte that leaves starts the time for the next anew."""
    connection, transport, _ = unplugged()
    connection.begin(b"POST")
    connection.write(bytes(10))
    connection.pause_writing()
    task = asyncio.create_task(connection.drain())
    await asyncio.sleep(0)
    now = asyncio.get_running_loop().time()
    for step in range(1, 10):
        transport.written = bytes(10 - step)
        connection.look(now + step * QUICK.idle * 0.9)
    assert not task.done()
    connection.look(now + 10 * QUICK.idle)
    assert await refused(end_of(task)) == ("upstream_timeout", "write")


async def test_an_early_answer_while_uploading() -> None:
    """A backend may answer before it has read all; such a connection is not used again."""
    early = b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n"

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(early)
        await reader.read()

    async with backend_that(script) as behind, pool_to(behind.server) as pool:
        connection = await pool.connect()
        connection.begin(b"POST")
        connection.write(b"POST / HTTP/1.1\r\nContent-Length: 1000\r\n\r\n")
        connection.write(b"b" * 10)
        assert (await connection.head()).status == 413
        assert connection.complete
        connection.release()
        assert pool.idle_count == 0


async def test_an_early_answer_and_a_close_while_uploading() -> None:
    """An answer that arrived is heard, though the connection broke under the upload after it."""
    early = b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 5\r\n\r\nlarge"
    async with connected(closing(early)) as connection:
        connection.begin(b"POST")
        connection.write(REQUEST)
        await until(lambda: connection.complete)
        for _ in range(20):
            connection.write(bytes(65536))
            await connection.drain()
        assert (await connection.head()).status == 413
        assert await read_all(connection) == b"large"


async def test_a_tunnel_carries_bytes_both_ways() -> None:
    """After a 101 bytes are carried as they are, those right behind its head first, until EOF."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH + b"first")
        writer.write((await reader.readexactly(4)).upper())

    async with connected(script) as connection:
        ask(connection)
        assert (await connection.head()).status == 101
        connection.tunnel()
        assert await connection.read() == b"first"
        connection.write(b"ping")
        await connection.drain()
        assert await read_all(connection) == b"PING"


async def test_a_tunnel_without_a_101_is_a_mistake() -> None:
    """Only a 101 opens a tunnel."""
    async with connected(answering(HELLO)) as connection:
        ask(connection)
        await connection.head()
        with pytest.raises(RuntimeError):
            connection.tunnel()


async def test_a_silent_tunnel_ends() -> None:
    """A tunnel in which neither side says anything for `idle` seconds is given up."""
    async with connected(answering(SWITCH), Timeouts(response=1, idle=0.2)) as connection:
        ask(connection)
        await connection.head()
        connection.tunnel()
        for _ in range(5):
            await asyncio.sleep(0.1)
            connection.write(b"we are here")
        assert connection.usable()
        assert await refused(connection.read()) == ("upstream_timeout", "idle")


async def test_release_lets_the_last_words_leave() -> None:
    """What was written before `release` arrives, though the connection closes."""
    heard = asyncio.get_running_loop().create_future()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(SWITCH)
        heard.set_result(await reader.read())

    async with connected(script) as connection:
        ask(connection)
        await connection.head()
        connection.tunnel()
        connection.write(b"going away")
        connection.release()
        assert await heard == b"going away"


async def test_last_words_that_nobody_takes_are_dropped() -> None:
    """A released connection whose bytes do not leave is closed all the same."""
    connection, transport, shelf = unplugged()
    ask(connection)
    connection.release()
    transport.closed = False
    connection.look(asyncio.get_running_loop().time() + LINGER + 1)
    assert (transport.closed, shelf.kept) == (True, [])
