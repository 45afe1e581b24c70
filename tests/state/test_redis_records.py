"""Durable records in a Redis: what it removes by itself, and what holds after it lost something."""

import time

from authproxy.state.redis_records import ENDS, SLACK, RedisRecords
from tests.redis_server import RedisServer, emptied


async def test_redis_removes_what_has_expired() -> None:
    """A record is gone with its time and a little, whether or not anybody ever comes again."""
    records = RedisRecords(emptied().access())
    now = time.time()
    await records.put("k", b"a", b"x", now + 10)
    await records.put("k", b"b", b"x", float("inf"))
    lives = await records.redis.call("PTTL", b"authproxy:{r}:at:k:a")
    assert 0 < lives <= (10 + SLACK) * 1000
    assert await records.redis.call("PTTL", b"authproxy:{r}:at:k:b") == -1
    records.close()


async def test_what_redis_removed_leaves_no_trace() -> None:
    """The sweep clears the lists of what Redis has removed; until then nothing of it is told."""
    records = RedisRecords(emptied().access(), sweep_every=0)
    now = time.time()
    await records.put("k", b"a", b"x", now - 1)
    await records.redis.call("DEL", b"authproxy:{r}:at:k:a")
    assert await records.since("k", 0, 0.0) == []
    assert await records.sweep(now, 10) == 1
    left = await records.redis.call("KEYS", "*")
    assert left == [b"authproxy:{r}:last:k"]
    records.close()


async def test_a_clock_that_is_ahead_removes_nothing() -> None:
    """What lives by Redis's clock stays, whatever a machine takes the time to be."""
    records = RedisRecords(emptied().access(), sweep_every=0)
    now = time.time()
    await records.put("k", b"a", b"x", now + 600)
    assert await records.sweep(now + 3600, 10) == 0
    assert await records.get("k", b"a", now) == b"x"
    records.close()


async def test_a_sweep_is_asked_for_now_and_then() -> None:
    """However often the worker's timer comes: Redis is asked when some seconds have gone by."""
    records = RedisRecords(emptied().access())
    assert await records.sweep(time.time(), 10) == 0
    await records.put("k", b"a", b"x", time.time() - 1)
    assert await records.sweep(time.time(), 10) == 0
    assert await records.redis.call("ZCARD", ENDS) == 1
    records.close()


async def test_an_empty_redis_goes_on_above_what_was_seen() -> None:
    """After a loss of all, or of the last writes, no sequence comes twice: whoever follows misses nothing that is new."""
    server = RedisServer()
    records = RedisRecords(server.access())
    try:
        for n in range(5):
            await records.put("k", b"%d" % n, b"x", time.time() + 60)
        seen, epoch = await records.latest("k"), records.epoch
        server.ask("FLUSHALL")
        await records.put("k", b"new", b"x", time.time() + 60)
        found = await records.since("k", seen, time.time())
        assert [record.key for record in found] == [b"new"]
        assert records.epoch == epoch
    finally:
        records.close()
        server.close()


async def test_all_its_keys_are_in_one_slot() -> None:
    """A step over a record, its order and its end may be one script, wherever keys are spread."""
    records = RedisRecords(emptied().access())
    await records.put("k", b"a", b"x", time.time() + 60)
    keys = await records.redis.call("KEYS", "*")
    assert len(keys) == 4
    assert all(key.startswith(b"authproxy:{r}:") for key in keys)
    records.close()
