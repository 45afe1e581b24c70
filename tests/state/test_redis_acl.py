"""The ACL user that the documentation names may do all that the state asks of a Redis, and nothing beside it."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

from authproxy.model.rate import STRATEGIES, Charge, Rate
from authproxy.rate_limits.redis_ledger import RedisLedger
from authproxy.state.redis_records import RedisRecords
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import StateUnavailable
from tests.redis_server import RedisServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


async def test_the_documented_user_is_enough_and_no_more() -> None:
    """Every step of counters and records is taken by it; keys of others and the server's own commands are not for it."""
    found = re.search(r"`user (authproxy on >PASSWORD [^`]+)`", PAGE.read_text())
    assert found is not None
    server = RedisServer()
    server.ask("ACL SETUSER " + found[1].replace("PASSWORD", "s3cret"))
    access = replace(server.access(), username="authproxy", password="s3cret")
    store, records, now = RedisStore(access), RedisRecords(access, sweep_every=0), time.time()
    try:
        for strategy in STRATEGIES:
            charge = Charge(strategy.encode().ljust(16)[:16], Rate(2, 60), strategy, 2)
            assert [(await RedisLedger(store).acquire([charge]))[0].granted for _ in range(2)] == [True, False]  # fmt: skip
        assert await store.advance(b"k" * 16, 1, now + 9, now)
        await records.put("k", b"a", b"x", now - 1)
        await records.put("k", b"b", b"x", float("inf"))
        assert await records.update("k", b"b", now, lambda held: (b"y", now + 9, held)) == b"x"
        assert [one.key for one in await records.since("k", 0, now)] == [b"b"]
        assert await records.latest("k") > 0
        assert await records.sweep(now, 10) == 1
        assert await records.count("k") == 1
        assert await records.remove("k", b"b")
        for command in (["GET", "other"], ["FLUSHALL"], ["CONFIG", "GET", "*"], ["KEYS", "*"]):
            with pytest.raises(StateUnavailable, match="permission"):
                await store.redis.call(*command)
        assert store.redis.epoch == 1
    finally:
        store.close()
        records.close()
        server.close()
