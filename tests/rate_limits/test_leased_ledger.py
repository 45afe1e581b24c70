"""Slices of a real Redis: its Lua is `weighed`, nobody's leaving loses one, and no more passes than without."""

import asyncio
import contextlib
import struct
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.rate import STRATEGIES, Balance, Charge, Rate, Strategy
from authproxy.rate_limits.leased_ledger import LeasedLedger
from authproxy.rate_limits.leases import Part, weighed
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import StateUnavailable
from tests.rate_limits.ledgers import AskedRedis
from tests.redis_server import RedisServer, emptied

NOW = 1_700_000_040.0
LIMIT = Charge(b"k" * 16, Rate(1000, 3600), "fixed-window")
GAPS = st.sampled_from([0.0, 0.0, 0.25, 1.0, 59.0, 60.0, 61.0, 120.0])


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(GAPS, st.integers(0, 40)), min_size=1, max_size=20),
    st.sampled_from(STRATEGIES),
    st.sampled_from([1, 3]),
)
def test_the_script_is_the_arithmetic(
    asked: list[tuple[float, int]], strategy: Strategy, cost: int
) -> None:
    """To the bit, whatever is wanted and whenever."""

    async def play() -> None:
        redis, now, record = AskedRedis(leased=True), NOW, None
        assert isinstance(redis.ledger, LeasedLedger)
        charge = Charge(b"k" * 16, Rate(100, 60), strategy, cost)
        for gap, want in asked:
            now += gap
            redis.now = now
            (told,) = await redis.ledger._told([Part(charge, None, want - want % cost)])
            expected, kept, expiry = weighed(record, charge, want - want % cost, now)
            record = kept or record
            assert told.balance == expected.balance
            if expected.balance.granted:
                assert told == expected._replace(left=told.left)
                assert told.left == expected.left or not expected.end
            if expiry <= now:
                record = None
        redis.store.close()

    asyncio.run(play())


async def machines(number: int) -> list[LeasedLedger]:
    """Workers of as many machines, each with a connection of its own; in Redis it is a quarter past."""
    access = emptied().access()
    return [LeasedLedger(RedisStore(access, clock=lambda: NOW)) for _ in range(number)]


async def hits(ledger: LeasedLedger, times: int, *charges: Charge) -> Counter[bool]:
    """So many requests of a worker, 16 at once."""
    found: Counter[bool] = Counter()

    async def client() -> None:
        for _ in range(times // 16):
            balances = await ledger.acquire(charges)
            found[all(one.granted for one in balances)] += 1

    await asyncio.gather(*(client() for _ in range(16)))
    return found


@pytest.mark.parametrize("strategy", ["fixed-window", "sliding-window-counter"])
async def test_four_workers_let_no_more_pass_than_the_limit(strategy: Strategy) -> None:
    """All at once, and with far fewer calls than requests; what was not spent is within its bound."""
    ledgers = await machines(4)
    charge = LIMIT._replace(strategy=strategy)
    passed = sum((await asyncio.gather(*(hits(one, 640, charge) for one in ledgers))), Counter())[True]  # fmt: skip
    assert 1000 / 1.25 <= passed <= 1000
    assert sum(one._store.round_trips for one in ledgers) < 4 * 640 / 2
    for one in ledgers:
        one._store.close()


async def test_steps_of_several_limits_are_taken_together() -> None:
    """The smaller one decides, and the larger one is charged only for what passed, and for what is in hand."""
    (ledger,) = await machines(1)
    small = Charge(b"s" * 16, Rate(100, 3600), "fixed-window")
    assert (await hits(ledger, 320, LIMIT, small))[True] == 100
    (left,) = await ledger.peek([LIMIT])
    assert left.remaining == 900
    ledger._store.close()


async def test_who_leaves_takes_no_slice_along() -> None:
    """A request that is given up while a slice is under way: the slice is in hand all the same."""
    (ledger,) = await machines(1)
    await hits(ledger, 160, LIMIT)
    while ledger._leases.in_hand(LIMIT.key, ledger._clock()):
        await ledger.acquire([LIMIT])
    leaving = asyncio.create_task(ledger.acquire([LIMIT]))
    await asyncio.sleep(0)  # it begins
    assert LIMIT.key in ledger._coming
    leaving.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await leaving
    before = ledger._store.round_trips
    assert (await ledger.acquire([LIMIT]))[0].granted
    assert ledger._store.round_trips == before
    ledger._store.close()


async def test_those_that_find_a_slice_under_way_wait_for_it() -> None:
    """One call for all who come meanwhile, where it brings enough."""
    (ledger,) = await machines(1)
    await hits(ledger, 480, LIMIT)
    while ledger._leases.in_hand(LIMIT.key, ledger._clock()):
        await ledger.acquire([LIMIT])
    before = ledger._store.round_trips
    told = await asyncio.gather(*(ledger.acquire([LIMIT]) for _ in range(20)))
    assert all(balances[0].granted for balances in told)
    assert ledger._store.round_trips == before + 1
    ledger._store.close()


async def test_no_charges_are_no_call() -> None:
    """As with any ledger."""
    (ledger,) = await machines(1)
    assert await ledger.acquire([]) == []
    assert ledger._store.round_trips == 0


async def test_without_redis_what_is_in_hand_is_spent() -> None:
    """And no more; with a Redis that is another one it is void."""
    server = RedisServer()
    try:
        ledger = LeasedLedger(RedisStore(server.access(timeout=0.5)))
        await hits(ledger, 160, LIMIT)
        held = ledger._leases.in_hand(LIMIT.key, ledger._clock())
        assert held > 0
        server.stop()
        for _ in range(held):
            assert (await ledger.acquire([LIMIT]))[0].granted
        with pytest.raises(StateUnavailable):
            await ledger.acquire([LIMIT])
        assert ledger._coming == {}
        server.start()
        await hits_until_answered(ledger)
        assert ledger.spend([LIMIT]) is None
        ledger._store.close()
    finally:
        server.close()


async def hits_until_answered(ledger: LeasedLedger) -> list[Balance]:
    """The first balances that there are again."""
    async with asyncio.timeout(10):
        while True:
            try:
                return await ledger.acquire([LIMIT])
            except StateUnavailable:
                await asyncio.sleep(0.05)


async def test_another_redis_voids_what_is_in_hand() -> None:
    """It has not been charged for it: with it, more than the limit would pass there."""
    (ledger,) = await machines(1)
    await hits(ledger, 160, LIMIT)
    assert ledger.spend([LIMIT]) is not None
    ledger._store.redis.epoch += 1
    assert ledger.spend([LIMIT]) is None
    ledger._store.close()


async def test_both_modes_count_the_same_records() -> None:
    """Machines with slices and machines without may be mixed: a slice is a charge like any other."""
    ledgers = await machines(2)
    await hits(ledgers[0], 160, LIMIT)
    held = ledgers[0]._leases.in_hand(LIMIT.key, ledgers[0]._clock())
    raw: Any = await ledgers[1]._store.redis.call("GET", b"authproxy:c:" + LIMIT.key)
    assert struct.unpack("<dd", raw)[1] == 160 + held
    for one in ledgers:
        one._store.close()
