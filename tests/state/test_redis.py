"""The connection to Redis: what it waits for and how long, who it meets, and how it comes back."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authproxy.config.state import parse_redis_url
from authproxy.state.redis import (
    PAUSE_MOST,
    STEPS_TO_CONNECT,
    Redis,
    Script,
    _Dialled,
    packed,
)
from authproxy.state.redis_access import RedisAccess
from authproxy.state.store import StateUnavailable
from tests.end_to_end.served import free_port
from tests.redis_server import RedisServer, emptied, sentinel

ADD = Script("return redis.call('INCRBY', KEYS[1], ARGV[1])")


@pytest.fixture
async def redis() -> AsyncIterator[Redis]:
    made = Redis(emptied().access(), "counters")
    yield made
    made.close()


async def fails(redis: Redis, *command: str) -> str:
    """Why a call fails."""
    with pytest.raises(StateUnavailable) as failed:
        await redis.call(*command)
    return str(failed.value)


def test_commands_are_packed() -> None:
    """As bulk strings, with their lengths in bytes."""
    assert (
        packed(["SET", b"\x00", 1, "ä"])
        == b"*4\r\n$3\r\nSET\r\n$1\r\n\x00\r\n$1\r\n1\r\n$2\r\n\xc3\xa4\r\n"
    )


async def test_answers_come_to_whoever_asked(redis: Redis) -> None:
    """Of many at once on the one connection, each has its own answer."""
    await redis.call("MSET", *(word for n in range(200) for word in (f"k{n}", n)))
    told = await asyncio.gather(*(redis.call("GET", f"k{n}") for n in range(200)))
    assert told == [b"%d" % n for n in range(200)]


async def test_a_caller_who_left_takes_nobodys_answer(redis: Redis) -> None:
    """An answer that nobody waits for any more is passed over, not given to the next."""
    await redis.call("MSET", "a", "1", "b", "2")
    gone = asyncio.ensure_future(redis.call("GET", "a"))
    await asyncio.sleep(0)
    gone.cancel()
    assert await redis.call("GET", "b") == b"2"


async def test_a_script_that_is_not_known_is_told(redis: Redis) -> None:
    """After a restart Redis knows no scripts; the step is taken all the same, once."""
    assert await redis.run(ADD, [b"n"], [2]) == 2
    await redis.call("SCRIPT", "FLUSH")
    assert await asyncio.gather(*(redis.run(ADD, [b"n"], [1]) for _ in range(3))) == [3, 4, 5]


async def test_an_error_is_that_callers_alone(redis: Redis) -> None:
    """What Redis refuses is unavailable to whoever asked; the others go on, on the same connection."""
    await redis.call("SET", "k", "x")
    assert "not an integer" in await fails(redis, "INCR", "k")
    assert await redis.call("GET", "k") == b"x"
    assert redis.trouble is None


async def test_nobody_there_is_said_at_once_from_then_on() -> None:
    """The first call waits for the first try, the next ones fail without waiting."""
    server = RedisServer()
    server.close()
    redis = Redis(server.access(), "counters")
    assert "127.0.0.1" in await fails(redis, "PING")
    begin = time.monotonic()
    for _ in range(500):
        await fails(redis, "PING")
    assert time.monotonic() - begin < 1.0
    assert redis.failures == 501
    redis.close()


async def test_a_redis_that_hangs_holds_nobody_longer_than_the_timeout() -> None:
    """The oldest call is late, so all that wait fail together; who comes later does not wait at all."""
    server = RedisServer()
    redis = Redis(server.access(timeout=0.2), "counters")
    try:
        await redis.call("PING")
        server.signal(signal.SIGSTOP)
        begin = time.monotonic()
        told = await asyncio.gather(
            *(redis.call("PING") for _ in range(50)), return_exceptions=True
        )
        assert all(isinstance(one, StateUnavailable) for one in told)
        assert time.monotonic() - begin < 2.0
        assert "no answer within 0.2 s" in await fails(redis, "PING")
        server.signal(signal.SIGCONT)
        await comes_back(redis)
    finally:
        redis.close()
        server.close()


async def comes_back(redis: Redis) -> None:
    """Ask until it answers, for 5 s at most."""
    async with asyncio.timeout(5):
        while True:
            try:
                await redis.call("PING")
            except StateUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def test_it_is_back_by_itself_and_known_for_another(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A Redis that was started again is found within 5 s; what it may not know any more shows in `epoch`."""
    server = RedisServer()
    redis = Redis(server.access(timeout=0.5), "counters")
    try:
        with caplog.at_level(logging.WARNING):
            await redis.call("PING")
            before = redis.epoch
            server.stop()
            await fails(redis, "PING")
            server.start()
            await comes_back(redis)
        assert redis.epoch == before + 1
        assert [record.getMessage().split(": ")[0] for record in caplog.records] == [
            f"{redis.name} cannot be used", f"{redis.name} answers again",
        ]  # fmt: skip
    finally:
        redis.close()
        server.close()


async def test_a_broken_connection_to_the_same_redis_is_no_other(redis: Redis) -> None:
    """What was written is still there: nobody has to begin anew."""
    await redis.call("PING")
    before = redis.epoch
    other = Redis(redis.access, "counters")
    await other.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    await comes_back(redis)
    assert redis.epoch == before
    other.close()


def test_the_bound_of_coming_back() -> None:
    """The longest pause and a whole try to connect fit into 5 s, by the default timeout."""
    place = parse_redis_url("redis://h")
    assert place is not None
    assert PAUSE_MOST + STEPS_TO_CONNECT * RedisAccess(place).timeout < 5


async def test_users_and_passwords() -> None:
    """An ACL user with its password gets in; a wrong one is told without either being shown."""
    server = RedisServer()
    server.ask("ACL SETUSER proxy on >s3cret ~authproxy:* +@all")
    server.ask("ACL SETUSER default off")
    access = replace(server.access(), username="proxy", password="s3cret")
    good, bad = Redis(access, "counters"), Redis(replace(access, password="wr0ng"), "counters")
    try:
        assert await good.call("GET", "authproxy:x") is None
        assert "permission" in await fails(good, "GET", "other")
        told = await fails(bad, "PING")
        assert "WRONGPASS" in told or "invalid username-password" in told
        assert "wr0ng" not in told
    finally:
        good.close()
        bad.close()
        server.close()


async def test_a_replica_is_not_taken() -> None:
    """What takes no writes is no state: it is not used, though it would answer reads."""
    primary = RedisServer()
    replica = RedisServer("--replicaof", f"127.0.0.1 {primary.port}")
    redis = Redis(replica.access(), "counters")
    try:
        assert "replica" in await fails(redis, "PING")
    finally:
        redis.close()
        replica.close()
        primary.close()


async def test_a_primary_that_became_a_replica_is_left(redis: Redis) -> None:
    """An answer READONLY ends the connection: whoever comes next is told at once."""
    server = RedisServer()
    redis = Redis(server.access(), "counters")
    try:
        await redis.call("SET", "k", "1")
        server.ask("REPLICAOF", "127.0.0.1", "1")
        await fails(redis, "SET", "k", "2")
        await asyncio.sleep(0)
        assert redis.trouble is not None
        server.ask("REPLICAOF", "NO", "ONE")
        await comes_back(redis)
    finally:
        redis.close()
        server.close()


async def test_a_redis_that_forgets_is_warned_of() -> None:
    """One that evicts when its memory is full would forget revocations."""
    server = RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    redis = Redis(server.access(), "counters")
    try:
        await redis.call("PING")
        assert redis.warning is not None
        assert "noeviction" in redis.warning
    finally:
        redis.close()
        server.close()


async def test_a_full_redis_refuses_writes_and_answers_reads() -> None:
    """With noeviction nothing is forgotten: who writes is refused, and the connection stays."""
    server = RedisServer("--maxmemory", "100kb", "--maxmemory-policy", "noeviction")
    redis = Redis(server.access(), "counters")
    try:
        assert "maxmemory" in await fails(redis, "SET", "k", "x" * 1000)
        assert await redis.call("GET", "k") is None
        assert (redis.trouble, redis.warning) == (None, None)
    finally:
        redis.close()
        server.close()


async def test_closed_it_opens_again(redis: Redis) -> None:
    """Closing again is nothing, and the next call connects."""
    await redis.call("SET", "k", "x")
    redis.close()
    redis.close()
    assert await redis.call("GET", "k") == b"x"


async def test_sentinels_say_where_the_primary_is(tmp_path: Path) -> None:
    """Asked in any order, one that is gone is passed over; a service that they do not know is said."""
    server, gone = RedisServer(), free_port()
    with sentinel(tmp_path / "sentinel", server.port) as port:
        place = parse_redis_url(f"redis+sentinel://127.0.0.1:{gone},127.0.0.1:{port}/main")
        other = parse_redis_url(f"redis+sentinel://127.0.0.1:{port}/other")
        assert place is not None
        assert other is not None
        redis = Redis(RedisAccess(place, timeout=2.0), "counters")
        unknown = Redis(RedisAccess(other, timeout=2.0), "counters")
        try:
            await comes_back(redis)
            await redis.call("SET", "k", "x")
            assert "x" in server.ask("GET", "k")
            assert "knows no `other`" in await fails(unknown, "PING")
        finally:
            for one in (redis, unknown):
                one.close()
            server.close()


async def test_only_so_many_wait(monkeypatch: pytest.MonkeyPatch, redis: Redis) -> None:
    """A bound on what is under way: who comes past it is refused at once, the others are answered."""
    monkeypatch.setattr("authproxy.state.redis.WAITING_MOST", 10)
    await redis.call("PING")
    told = await asyncio.gather(*(redis.call("PING") for _ in range(15)), return_exceptions=True)
    assert [isinstance(one, StateUnavailable) for one in told] == [False] * 10 + [True] * 5


async def test_what_redis_says_is_bounded(redis: Redis) -> None:
    """However long an error of it is, a log line stays one."""
    assert len(await fails(redis, "x" * 5000)) < 400


def test_no_secret_in_what_it_is_shown_as() -> None:
    """Whoever prints how a Redis is reached prints no password."""
    place = parse_redis_url("redis://127.0.0.1:1/0")
    assert place is not None
    access = RedisAccess(place, "u", "secret-one", "s", "secret-two")
    assert "secret" not in repr(access)


async def test_a_lost_cancellation_holds_nobody(
    monkeypatch: pytest.MonkeyPatch, redis: Redis
) -> None:
    """Sending may lose the cancellation by which a lost connection ends it (asyncio before Python 3.12): calls fail then,
    they do not wait for ever, and another connection is made.
    """
    sent, stubborn = _Dialled.send_packed_command, False

    async def loses_it(self: _Dialled, *words: Any, **more: Any) -> None:
        await sent(self, *words, **more)
        if stubborn:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(3600)

    monkeypatch.setattr(_Dialled, "send_packed_command", loses_it)
    await redis.call("PING")
    stubborn = True
    await redis.call("PING")
    stubborn = False  # for the next connection
    async with asyncio.timeout(20):
        emptied().ask("CLIENT KILL TYPE normal")
        while True:
            try:
                await redis.call("PING")
            except StateUnavailable:
                break
        while True:
            try:
                assert await redis.call("PING") == b"PONG"
                break
            except StateUnavailable:
                await asyncio.sleep(0.01)
