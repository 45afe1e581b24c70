"""Counters in a Redis: where they are, and that Redis removes them by itself."""

from authproxy.state.redis import Script
from authproxy.state.redis_store import RedisStore
from tests.redis_server import emptied

KEY = b"k" * 16


async def test_keys_have_the_prefix_of_ours() -> None:
    """An ACL can hold us to `authproxy:*`."""
    server = emptied()
    store = RedisStore(server.access())
    await store.run(Script("return redis.call('SET', KEYS[1], ARGV[2])"), [KEY], [1])
    await store.advance(b"n" * 16, 1, 110.0, 100.0)
    keys = await store.redis.call("KEYS", "*")
    assert sorted(keys) == [b"authproxy:c:" + KEY, b"authproxy:c:" + b"n" * 16]
    assert 9_000 < await store.redis.call("PTTL", b"authproxy:c:" + b"n" * 16) <= 10_000
    assert store.sweep(0.0, 10) == 0
    store.close()


async def test_a_step_is_told_the_time_by_a_test_only() -> None:
    """Its first argument is empty, unless a clock was handed in."""
    tell = Script("return ARGV[1]")
    server = emptied()
    usual, told = RedisStore(server.access()), RedisStore(server.access(), clock=lambda: 12.5)
    assert (await usual.run(tell, [KEY], []), await told.run(tell, [KEY], [])) == (b"", b"12.5")
    usual.close()
    told.close()
