"""Over a real socket: one exchange at a time, and no connection is used again in doubt."""

import asyncio
from typing import Any

import pytest

from authproxy.model.errors import Refusal
from authproxy.upstream.connection import Connection, StaleConnection, Timeouts
from authproxy.upstream.head import AnswerHead
from tests.upstream.backends import (
    HELLO,
    OK,
    REQUEST,
    answering,
    ask,
    closing,
    connected,
    end_of,
    exchange,
    no_complaints,
    pool_to,
    read_all,
    refused,
    unplugged,
    until,
)
from tests.upstream.backends import backend as backend_that

SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


async def test_an_exchange() -> None:
    """A request goes out as written, its answer comes back as sent."""
    async with connected(answering(HELLO)) as connection:
        ask(connection)
        head = await connection.head()
        assert (head.status, head.length, await read_all(connection)) == (200, 5, b"hello")
        assert connection.complete
        assert await connection.read() == b""


async def test_the_request_arrives_as_written() -> None:
    """Every byte that is written arrives, in order."""
    seen = asyncio.get_running_loop().create_future()

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.set_result(await reader.readexactly(len(REQUEST) + 300))

    async with connected(script) as connection:
        connection.begin(b"POST")
        connection.write(REQUEST)
        for _ in range(3):
            connection.write(b"b" * 100)
            await connection.drain()
        assert await seen == REQUEST + b"b" * 300


async def test_take_does_not_wait() -> None:
    """What is here can be had at once; nothing here is no end."""
    async with connected(answering(HELLO)) as connection:
        ask(connection)
        assert connection.take() == b""
        await connection.head()
        await until(lambda: connection.complete)
        assert connection.take() == b"hello"


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\rX: y\r\n\r\n",
        OK + b"A: b\rX: y\r\nContent-Length: 0\r\n\r\n",
        OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17 + HELLO,
        b"HTTP/2.0 200 OK\r\n\r\n",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        OK + b"A: " + b"b" * 70000,
        OK + b"A: b\r\n" * 300 + b"\r\n",
    ],
)
async def test_a_hostile_answer_is_refused_and_the_next_is_clean(answer: bytes) -> None:
    """After every hostile answer the connection is dropped, and the canary gets an answer of its own."""
    async with (
        backend_that(answering(answer, HELLO), answering(HELLO)) as behind,
        pool_to(behind.server) as pool,
    ):
        with pytest.raises(Refusal) as refusal:
            await exchange(pool)
        assert refusal.value.code == "upstream_invalid"
        assert (pool.busy_count, pool.idle_count) == (0, 0)
        head, body = await exchange(pool)
        assert (head.status, body, behind.connections) == (200, b"hello", 2)


@pytest.mark.parametrize(
    "answer",
    [
        HELLO + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil",
        HELLO + b"\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
    ],
)
async def test_more_than_the_message_is_never_the_next_answer(answer: bytes) -> None:
    """Bytes after a complete message drop its connection; the message itself is good."""
    async with (
        backend_that(answering(answer), answering(HELLO)) as behind,
        pool_to(behind.server) as pool,
    ):
        for _ in range(2):
            assert (await exchange(pool))[1] == b"hello"
        assert behind.connections == 2


async def test_head_to_head_to_get() -> None:
    """Answers to HEAD that declare a length leave a connection that serves the next exchange."""
    announced = OK + b"Content-Length: 500\r\n\r\n"
    async with (
        backend_that(answering(announced, announced, HELLO)) as behind,
        pool_to(behind.server) as pool,
    ):
        assert (await exchange(pool, b"HEAD"))[1] == b""
        assert (await exchange(pool, b"HEAD"))[0].length == 500
        assert (await exchange(pool))[1] == b"hello"
        assert behind.connections == 1


async def test_interim_heads_reach_their_hook() -> None:
    """Each 1xx is handed on before the final head, and the hook is gone with the exchange."""
    seen: list[AnswerHead] = []
    async with connected(
        answering(b"HTTP/1.1 103 Early Hints\r\nA: b\r\n\r\n" + HELLO)
    ) as connection:
        connection.on_interim = seen.append
        ask(connection)
        assert (await connection.head()).status == 200
        assert [(head.status, head.headers) for head in seen] == [(103, [(b"A", b"b")])]
        connection.release()
        assert connection.on_interim is None


async def test_a_hook_that_fails_ends_the_exchange_only() -> None:
    """No exception escapes a protocol callback: whoever waits is told."""

    def fail(_head: AnswerHead) -> None:
        raise ZeroDivisionError

    with no_complaints(asyncio.get_running_loop()):
        async with connected(answering(b"HTTP/1.1 103 Early Hints\r\n\r\n" + HELLO)) as connection:
            connection.on_interim = fail
            ask(connection)
            assert await refused(connection.head()) == ("internal_error", "ZeroDivisionError")


async def test_a_body_without_length_ends_with_the_connection() -> None:
    """EOF is the end of such a body, and its connection is not used again."""
    async with backend_that(closing(OK + b"\r\nhello")) as behind, pool_to(behind.server) as pool:
        assert (await exchange(pool))[1] == b"hello"
        assert pool.idle_count == 0


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(b"", "closed"), (b"HTTP/1.1 2", "truncated"), (b"HTTP/1.1 100 C\r\n\r\n", "truncated")],
)
async def test_a_fresh_connection_closed_without_an_answer(answer: bytes, reason: str) -> None:
    """No answer is an invalid answer, and it is not called stale."""
    async with connected(closing(answer)) as connection:
        ask(connection)
        assert await refused(connection.head()) == ("upstream_invalid", reason)


@pytest.mark.parametrize("answer", [HELLO[:-1], CHUNKED + b"4\r\nhell\r\n"])
async def test_a_backend_that_goes_away_in_the_middle(answer: bytes) -> None:
    """The part of the body that came is passed on, and then the truncation is told."""
    async with connected(closing(answer)) as connection:
        ask(connection)
        await connection.head()
        assert await connection.read() == b"hell"
        assert await refused(connection.read()) == ("upstream_invalid", "truncated")
        assert not connection.complete


async def test_a_reused_connection_that_ended_is_stale() -> None:
    """A pooled connection that the backend closes before any byte of an answer may be tried again."""

    async def script(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        await reader.readuntil(b"\r\n\r\n")

    async with backend_that(script) as behind, pool_to(behind.server) as pool:
        await exchange(pool)
        connection = pool.idle()
        assert connection is not None
        assert connection.reused
        ask(connection)
        with pytest.raises(StaleConnection):
            await connection.head()
        connection.release()
        assert (await exchange(pool))[1] == b"hello"


async def test_a_reused_connection_with_half_an_answer_is_not_stale() -> None:
    """After the first byte of an answer nothing may be tried again."""
    async with (
        backend_that(closing(b"")) as behind,
        pool_to(behind.server) as pool,
    ):
        connection = await pool.connect()
        connection.reused = True
        connection.begin(b"GET")
        connection.data_received(b"H")
        connection.write(REQUEST)
        connection.request_sent()
        assert await refused(connection.head()) == ("upstream_invalid", "truncated")
        connection.release()


async def test_an_exchange_on_a_connection_lost_meanwhile() -> None:
    """A connection that is lost between the pool and `begin` is stale if it was reused, closed if it was not."""
    for reused, expected in ((True, StaleConnection), (False, Refusal)):
        connection, transport, _ = unplugged()
        connection.reused = reused
        connection.connection_lost(None)
        ask(connection)
        with pytest.raises(expected):
            await connection.head()
        assert transport.written == b""


@pytest.mark.parametrize("end", [Connection.abort, Connection.release])
async def test_a_reader_is_woken_when_the_owner_ends(end: Any) -> None:
    """No task waits for ever on a connection that another one closed."""
    async with connected(answering(), Timeouts()) as connection:
        ask(connection)
        waiting = asyncio.create_task(connection.head())
        await asyncio.sleep(0)
        end(connection)
        async with asyncio.timeout(1):
            assert await refused(end_of(waiting)) == ("upstream_invalid", "aborted")


async def test_a_cancelled_reader_leaves_no_trace() -> None:
    """A client that goes away while its answer is awaited harms nobody."""
    with no_complaints(asyncio.get_running_loop()):
        connection, _transport, _shelf = unplugged()
        ask(connection)
        waiting = asyncio.create_task(connection.head())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        connection.data_received(HELLO)
        connection.abort()


async def test_a_body_that_was_not_taken_is_never_left_to_the_next() -> None:
    """A connection is only kept when all of the body was taken."""
    connection, transport, shelf = unplugged()
    ask(connection)
    connection.data_received(HELLO)
    connection.release()
    assert (shelf.kept, transport.closed) == ([], True)


@pytest.mark.parametrize("hint", [b"Keep-Alive: timeout=5\r\n", b""])
async def test_the_pool_is_told_how_long_the_backend_waits(hint: bytes) -> None:
    """What the backend says of its patience reaches the pool with the connection."""
    connection, _transport, shelf = unplugged()
    ask(connection)
    connection.data_received(OK + hint + b"Content-Length: 0\r\n\r\n")
    connection.release()
    assert shelf.hints == [5.0 if hint else None]
