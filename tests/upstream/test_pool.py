"""Connections are used again where that is beyond doubt, spread over the servers, and gone when they are of no use."""

import asyncio
import ssl

import pytest

from authproxy.model.errors import Refusal
from authproxy.upstream.connection import Timeouts
from authproxy.upstream.dial import Server
from authproxy.upstream.pool import HASTE, Pool
from tests.upstream.backends import (
    HELLO,
    OK,
    QUICK,
    answering,
    ask,
    backend,
    closing,
    exchange,
    pool_to,
    until,
)

MANY = answering(*[HELLO] * 20)


async def nobody() -> Server:
    """A server at a port where nobody listens."""
    async with backend(MANY) as behind:
        return behind.server


async def test_one_connection_serves_many_exchanges() -> None:
    """An exchange that ended well leaves its connection to the next."""
    async with backend(MANY) as behind, pool_to(behind.server) as pool:
        assert pool.idle() is None
        for _ in range(5):
            assert (await exchange(pool))[1] == b"hello"
            assert (pool.busy_count, pool.idle_count) == (0, 1)
        assert behind.connections == 1


async def test_counts() -> None:
    """What is busy and what is idle can be counted at any time."""
    async with backend(MANY) as behind, pool_to(behind.server) as pool:
        first, second = await pool.connect(), await pool.connect()
        assert (pool.busy_count, pool.idle_count) == (2, 0)
        first.abort()
        assert (pool.busy_count, pool.idle_count) == (1, 0)
        second.abort()
        assert (pool.busy_count, pool.idle_count) == (0, 0)


async def test_the_most_recently_used_comes_first() -> None:
    """The connection that served last is warmest, and the others can expire."""
    async with backend(MANY) as behind, pool_to(behind.server) as pool:
        both = [await pool.connect() for _ in range(2)]
        for connection in both:
            ask(connection)
            await connection.head()
            await connection.read()
            assert not connection.reused
            connection.release()
        again = pool.idle()
        assert again is both[1]
        assert again.reused


@pytest.mark.parametrize(
    "head",
    [
        OK + b"Connection: close\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\n",
        OK + b"Keep-Alive: timeout=1\r\nContent-Length: 5\r\n\r\n",
    ],
)
async def test_what_the_backend_will_close_is_not_kept(head: bytes) -> None:
    """`close`, HTTP/1.0 and a patience of a second leave nothing to use again."""
    async with backend(answering(head + b"hello")) as behind, pool_to(behind.server) as pool:
        await exchange(pool)
        assert pool.idle_count == 0


async def test_the_backends_patience_is_respected() -> None:
    """A connection is given up before the moment that the backend named, not written to at that moment."""
    answer = OK + b"Keep-Alive: timeout=5\r\nContent-Length: 5\r\n\r\nhello"
    async with backend(answering(answer)) as behind, pool_to(behind.server) as pool:
        await exchange(pool)
        connection = pool.idle()
        assert connection is not None
        left = connection.expires - asyncio.get_running_loop().time()
        assert left == pytest.approx(5 - HASTE, abs=0.5)


async def test_bytes_on_an_idle_connection_drop_it() -> None:
    """What a backend says without being asked is never the next answer."""

    async def chatty(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HELLO)
        await asyncio.sleep(0.05)
        writer.write(OK + b"Content-Length: 4\r\n\r\nevil")
        await reader.read()

    async with backend(chatty, MANY) as behind, pool_to(behind.server) as pool:
        await exchange(pool)
        assert pool.idle_count == 1
        await until(lambda: pool.idle_count == 0)
        assert (await exchange(pool))[1] == b"hello"
        assert behind.connections == 2


async def test_a_connection_lost_while_idle_leaves_at_once() -> None:
    """What the backend closes is not handed out."""
    async with backend(closing(HELLO)) as behind, pool_to(behind.server) as pool:
        await exchange(pool)
        await until(lambda: pool.idle_count == 0)
        assert pool.idle() is None


async def test_idle_connections_expire() -> None:
    """An idle connection is closed after `keepalive` seconds, also when nothing else happens."""
    async with backend(MANY) as behind:
        pool = Pool([behind.server], QUICK, keepalive=0.1)
        await exchange(pool)
        assert pool.idle_count == 1
        await until(lambda: pool.idle_count == 0)
        await pool.close()


async def test_idle_connections_are_bounded() -> None:
    """No more than `most_idle` are kept."""
    async with backend(MANY) as behind, pool_to(behind.server, most_idle=2) as pool:
        await asyncio.gather(*(exchange(pool) for _ in range(5)))
        assert pool.idle_count == 2
        await until(lambda: pool.busy_count == 0)


async def test_the_ticker_runs_only_when_needed() -> None:
    """A pool without connections has no timer."""
    async with backend(MANY) as behind:
        pool = Pool([behind.server], QUICK, keepalive=0.1)
        assert pool._timer is None
        await exchange(pool)
        assert pool._timer is not None
        await until(lambda: pool._timer is None)
        assert not pool._ticking


async def test_a_closed_pool_keeps_nothing() -> None:
    """After `close` the idle ones are gone, and what is busy ends its exchange undisturbed."""
    async with backend(MANY) as behind:
        pool = Pool([behind.server], QUICK)
        await exchange(pool)
        connection = await pool.connect()
        ask(connection)
        await pool.close()
        assert pool.idle_count == 0
        assert (await connection.head()).status == 200
        assert await connection.read() == b"hello"
        connection.release()
        assert pool.idle_count == 0
        await until(lambda: pool.busy_count == 0)


async def test_exchanges_take_turns() -> None:
    """Each server has its share of exchanges one after the other, over pooled connections too."""
    async with backend(MANY) as a, backend(MANY) as b, pool_to(a.server, b.server) as pool:
        served = []
        for _ in range(6):
            connection = pool.idle() or await pool.connect()
            ask(connection)
            await connection.head()
            await connection.read()
            served.append(connection.server)
            connection.release()
        assert served == [0, 1, 0, 1, 0, 1]
        assert (a.connections, b.connections) == (1, 1)


async def test_the_next_server_when_one_cannot_be_reached() -> None:
    """A server that is down costs its clients nothing but the try, and it is tried last for a while."""
    down = await nobody()
    async with backend(MANY) as behind, pool_to(down, behind.server) as pool:
        for _ in range(4):
            assert (await exchange(pool))[1] == b"hello"
        assert behind.connections == 1


async def test_no_server_can_be_reached() -> None:
    """When all are down the refusal says why."""
    async with pool_to(await nobody(), await nobody()) as pool:
        with pytest.raises(Refusal) as refusal:
            await pool.connect()
        assert (refusal.value.code, refusal.value.reason) == ("upstream_unreachable", "refused")
        assert (refusal.value.status, pool.busy_count) == (502, 0)


async def test_a_cancelled_connect_leaves_nothing() -> None:
    """A client that goes away while its connection opens leaves none behind."""

    async def never_shakes_hands(reader: asyncio.StreamReader, _w: asyncio.StreamWriter) -> None:
        await reader.read()

    async with backend(never_shakes_hands) as behind:
        server = Server("https", behind.server.host, behind.server.port)
        pool = Pool([server], Timeouts(), ssl.create_default_context())
        task = asyncio.create_task(pool.connect())
        await until(lambda: behind.connections == 1)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()
        assert (pool.busy_count, pool.idle_count) == (0, 0)
        await pool.close()


async def test_a_connection_lost_before_it_was_handed_out() -> None:
    """A backend that opens and resets at once leaves nothing that counts as busy."""
    async with backend(MANY) as behind, pool_to(behind.server) as pool:
        connection = await pool.connect()
        connection.connection_lost(ConnectionResetError())
        pool._take(connection)
        ask(connection)
        with pytest.raises(Refusal, match="closed"):
            await connection.head()
        connection.release()
        assert pool.busy_count == 0


async def test_many_exchanges_at_once_never_mix() -> None:
    """Every exchange gets the answer to its own request, whatever connection it has."""

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            line = (await reader.readuntil(b"\r\n\r\n")).split()[1]
            writer.write(OK + b"Content-Length: %d\r\n\r\n%b" % (len(line), line))

    async def one(pool: Pool, number: int) -> None:
        for step in range(20):
            connection = pool.idle() or await pool.connect()
            connection.begin(b"GET")
            connection.write(b"GET /%d/%d HTTP/1.1\r\n\r\n" % (number, step))
            connection.request_sent()
            await connection.head()
            assert await connection.read() == b"/%d/%d" % (number, step)
            connection.release()

    async with backend(echo) as behind, pool_to(behind.server) as pool:
        await asyncio.gather(*(one(pool, number) for number in range(20)))
        assert behind.connections <= 20


def test_the_pool_knows_its_authorities() -> None:
    """A pool of https servers is verified without being told to."""
    pool = Pool([Server.parse("https://backend.test")], Timeouts())
    assert pool._tls is not None
    assert pool._tls.verify_mode is ssl.CERT_REQUIRED


async def test_authority_of_a_connection() -> None:
    """A connection knows what Host its server expects."""
    async with backend(MANY) as behind, pool_to(behind.server) as pool:
        connection = await pool.connect()
        assert connection.authority == b"127.0.0.1:%d" % behind.server.port
        connection.abort()
