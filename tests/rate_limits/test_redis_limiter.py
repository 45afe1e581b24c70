"""Limits over a Redis, with leases and without: the same limits, headers and refusals, and what becomes of them without it."""

import pytest

from authproxy.config.state import parse_redis_url
from authproxy.model.errors import Refusal
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import done
from authproxy.rate_limits.redis_limiter import redis_limiter
from authproxy.rate_limits.step import Step
from authproxy.state.redis_access import RedisAccess
from authproxy.state.redis_store import RedisStore
from tests.end_to_end.served import free_port
from tests.rate_limits.test_limiter import STEP, exchange
from tests.redis_server import emptied


async def test_over_a_redis_each_step_is_awaited() -> None:
    """The same limits, headers and refusals, whoever counts."""
    store = RedisStore(emptied().access())
    limiter, found = redis_limiter(store, allow=False, leases=False), exchange()
    await done(limiter.take(STEP, found))
    await done(limiter.take_always(STEP, exchange()))
    with pytest.raises(Refusal, match="rate_limited"):
        await done(limiter.take(STEP, exchange()))
    with pytest.raises(Refusal, match="rate_limited"):
        await limiter.look(STEP, exchange())
    assert found.limits[0][1].remaining == 1
    assert [one.remaining for one in await limiter.peek(STEP.charges(exchange()), 0.0)] == [0]
    store.close()


async def test_without_its_redis_it_does_the_same_as_without_any_state() -> None:
    """A route's limits refuse or pass, those of every request go on in the worker, and nothing waits for long."""
    place = parse_redis_url(f"redis://127.0.0.1:{free_port()}")
    assert place is not None
    store = RedisStore(RedisAccess(place, timeout=0.5))
    refusing, passing = (
        redis_limiter(store, allow=False, leases=False),
        redis_limiter(store, allow=True, leases=False),
    )
    with pytest.raises(Refusal, match="state_unavailable"):
        await done(refusing.take(STEP, exchange()))
    found = exchange()
    await done(passing.take(STEP, found))
    assert (found.reason, passing.unavailable["passed"]) == ("limits not counted", 1)
    for _ in range(2):
        await done(refusing.take_always(STEP, exchange()))
    with pytest.raises(Refusal, match="rate_limited"):
        await refusing.look(STEP, exchange())
    assert refusing.unavailable == {"passed": 0, "refused": 1, "own": 3}
    store.close()


async def test_with_leases_most_steps_are_done_at_once() -> None:
    """The same limits, headers and refusals; a step with a slice in hand, or refused a moment ago, waits for nobody."""
    store = RedisStore(emptied().access())
    limiter = redis_limiter(store, allow=False, leases=True)
    many = Step(
        [RouteLimit("many", parse_rate("100/hour"), "address", strategy="fixed-window")], "r"
    )
    waited = 0
    for left in range(99, -1, -1):
        found = exchange()
        waiting = limiter.take(many, found)
        waited += waiting is not None
        await done(waiting)
        assert found.limits[0][1].remaining == left
    assert waited == store.round_trips < 50
    with pytest.raises(Refusal, match="rate_limited"):
        await done(limiter.take(many, exchange()))
    for take in (limiter.take, limiter.take_always):
        with pytest.raises(Refusal, match="rate_limited") as refusal:
            take(many, exchange())
        assert 3590 <= int(dict(refusal.value.headers)["Retry-After"]) <= 3600
    assert store.round_trips == waited + 1
    store.close()


async def test_with_leases_the_limits_of_every_request_go_on_too() -> None:
    """Asked first, then spent from what is in hand; without any Redis they are counted in the worker."""
    store = RedisStore(emptied().access())
    limiter, many = redis_limiter(store, allow=False, leases=True), Step([RouteLimit("many", parse_rate("100/hour"), "address", strategy="fixed-window")], "")  # fmt: skip
    waited = 0
    for _ in range(20):
        waiting = limiter.take_always(many, exchange())
        waited += waiting is not None
        await done(waiting)
    assert 4 < waited < 20
    store.close()
    place = parse_redis_url(f"redis://127.0.0.1:{free_port()}")
    assert place is not None
    store = RedisStore(RedisAccess(place, timeout=0.5))
    limiter = redis_limiter(store, allow=False, leases=True)
    await done(limiter.take_always(STEP, exchange()))
    with pytest.raises(Refusal, match="state_unavailable"):
        await done(limiter.take(STEP, exchange()))
    assert limiter.unavailable == {"passed": 0, "refused": 1, "own": 1}
    store.close()
