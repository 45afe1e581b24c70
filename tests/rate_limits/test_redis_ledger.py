"""The step in Lua: balances to the bit as those of strategies.py, one call a step, the time of Redis itself."""

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.rate import STRATEGIES, Charge, Rate
from authproxy.rate_limits.ledger import Ledger
from authproxy.rate_limits.redis_ledger import RedisLedger
from authproxy.state.memory import MemoryStore
from authproxy.state.redis_store import RedisStore
from tests.rate_limits.ledgers import AskedRedis
from tests.redis_server import emptied

NOW = 1_700_000_040.0
TICKS = 1024
EDGES = [0, 0, TICKS // 4, TICKS // 2, TICKS, 2 * TICKS, 3 * TICKS, TICKS - 1, TICKS + 1]


@dataclass(frozen=True)
class Hit:
    """A step: how much later than the last it comes (ticks of the window; less than 0: the clock was set back), what it
    charges, and whether it only looks.
    """

    gap: int
    charges: list[Charge]
    looks: bool


def charge(number: int, binding: bool) -> Charge:
    """One of six limits; a key has one rate, strategy and cost, as keys of ours have."""
    rate = Rate([3, 7, 1, 4, 12, 5][number], [60, 10, 1, 7, 3600, 3][number])
    return Charge(bytes([number]) * 16, rate, STRATEGIES[number % 3], 1 + number // 4, binding)


CHARGES = st.builds(charge, st.integers(0, 5), st.booleans())
GAPS = st.sampled_from([*EDGES, -1, -TICKS // 2, -TICKS, -3 * TICKS]) | st.integers(0, TICKS // 3)
HITS = st.builds(Hit, GAPS, st.lists(CHARGES, min_size=1, max_size=4), st.booleans())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(HITS, min_size=1, max_size=40),
    st.sampled_from([1, 3, 7, 10, 60, 3600]),
    st.sampled_from([7200.0, 1_700_000_000.25, NOW]),
)
def test_balances_are_those_of_the_embedded_store(
    hits: list[Hit], window: int, begin: float
) -> None:
    """Any run of steps, across the edges of windows and with a clock that is set back, comes to the same balances."""

    async def play() -> None:
        ledger, reference, now = AskedRedis(), Ledger(MemoryStore()), begin
        for hit in hits:
            now = max(4000.0, now + hit.gap * window / TICKS)
            if hit.looks:
                assert await ledger.peek(hit.charges, now) == reference.peek(hit.charges, now)
            else:
                assert await ledger.acquire(hit.charges, now) == reference.acquire(hit.charges, now)
        ledger.store.close()

    asyncio.run(play())


async def test_a_step_is_one_call() -> None:
    """Any number of limits is one command of Redis."""
    store = RedisStore(emptied().access())
    calls: list[str] = []
    asked = store.redis._ask

    async def counting(*command: Any) -> Any:
        calls.append(command[0])
        return await asked(*command)

    store.redis._ask = counting  # type: ignore[method-assign]
    ledger = RedisLedger(store)
    await ledger.acquire([charge(0, True)])
    calls.clear()
    await ledger.acquire([charge(n, True) for n in range(6)])
    assert calls == ["EVALSHA"]
    store.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_the_time_is_that_of_redis(strategy: Any) -> None:
    """A machine whose clock is hours off counts with the others: what it says of the time is not asked for."""
    server = emptied()
    store = RedisStore(server.access())
    charges = [Charge(b"k" * 16, Rate(2, 3600), strategy)]
    begin = time.time()
    granted = [(await RedisLedger(store).acquire(charges))[0] for _ in range(3)]
    assert [one.granted for one in granted] == [True, True, False]
    assert 0 < granted[0].reset <= 3600
    if strategy == "moving-window":
        stamp = await store.redis.call("LINDEX", b"authproxy:c:" + b"k" * 16, 0)
        assert begin - 1 < float(stamp) < time.time() + 1
    store.close()


@pytest.mark.parametrize("strategy", STRATEGIES)
async def test_what_ceased_to_count_is_gone(strategy: Any) -> None:
    """Redis is told of every record when it ceases to count: nothing stays for ever."""
    store = RedisStore(emptied().access())
    await RedisLedger(store).acquire([Charge(b"k" * 16, Rate(2, 10), strategy)])
    lives = int(await store.redis.call("PTTL", b"authproxy:c:" + b"k" * 16))
    assert 0 < lives <= 20_000
    store.close()


async def test_many_at_once_are_granted_exactly() -> None:
    """Of 300 at once over three connections exactly as many pass as the limit has room for."""
    server = emptied()
    stores = [RedisStore(server.access()) for _ in range(3)]
    ledgers = [RedisLedger(store) for store in stores]
    charges = [Charge(b"k" * 16, Rate(100, 3600)), Charge(b"r" * 16, Rate(1000, 3600))]
    told = await asyncio.gather(*(ledgers[n % 3].acquire(charges) for n in range(300)))
    assert sum(all(one.granted for one in balances) for balances in told) == 100
    assert (await ledgers[0].peek(charges))[1].remaining == 900
    for store in stores:
        store.close()
