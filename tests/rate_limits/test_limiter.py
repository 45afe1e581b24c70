"""What becomes of limits when the state cannot be reached, and that looking costs nothing."""

from collections.abc import Sequence
from typing import Any

import pytest

from authproxy.config.state import parse_redis_url
from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import Limiter, done, limiter_over
from authproxy.rate_limits.step import Step
from authproxy.state.memory import MemoryStore
from authproxy.state.redis import RedisAccess
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import StateUnavailable
from tests.end_to_end.served import free_port
from tests.redis_server import emptied

STEP = Step(
    [RouteLimit("fair", parse_rate("2/minute"), "address", strategy="fixed-window")], "route"
)


class Away(MemoryStore):
    """A store that comes and goes."""

    away = True

    def transact(self, keys: Sequence[bytes], now: float, decide: Any) -> Any:
        if self.away:
            raise StateUnavailable("away")
        return super().transact(keys, now, decide)

    def read(self, keys: Sequence[bytes], now: float) -> list[bytes | None]:
        if self.away:
            raise StateUnavailable("away")
        return super().read(keys, now)


def exchange() -> Exchange:
    """A request."""
    return Exchange("id", 1_000.0, 0.0)


def test_a_step_is_charged_until_there_is_no_room() -> None:
    """Two a minute are two a minute, and a route's limits are told to the client."""
    limiter, found = Limiter(MemoryStore(), allow=False), exchange()
    limiter.take(STEP, found)
    limiter.take(STEP, exchange())
    with pytest.raises(Refusal, match="rate_limited"):
        limiter.take(STEP, exchange())
    assert found.limit_lines[0][1].startswith('"fair";r=1')


async def test_looking_charges_nothing() -> None:
    """`look` refuses only where there is no room, however often it is asked."""
    limiter = Limiter(MemoryStore(), allow=False)
    for _ in range(10):
        await limiter.look(STEP, exchange())
    limiter.take(STEP, exchange())
    limiter.take(STEP, exchange())
    with pytest.raises(Refusal, match="rate_limited"):
        await limiter.look(STEP, exchange())


async def test_what_is_left_is_told_and_not_counted() -> None:
    """As often as anybody asks; without the state nobody is told anything made up."""
    limiter, charges = Limiter(MemoryStore(), allow=False), STEP.charges(exchange())
    limiter.take(STEP, exchange())
    assert [(await limiter.peek(charges, 1_000.0))[0].remaining for _ in range(3)] == [1, 1, 1]
    with pytest.raises(StateUnavailable):
        await Limiter(Away(), allow=True).peek(charges, 1_000.0)


def test_without_the_state_a_routes_limits_refuse() -> None:
    """503 `state_unavailable`; with `allow_limits` the request passes, counted, and the log says so."""
    limiter = Limiter(Away(), allow=False)
    with pytest.raises(Refusal, match="state_unavailable"):
        limiter.take(STEP, exchange())
    assert limiter.unavailable == {"passed": 0, "refused": 1, "own": 0}
    limiter, found = Limiter(Away(), allow=True), exchange()
    limiter.take(STEP, found)
    assert limiter.unavailable == {"passed": 1, "refused": 0, "own": 0}
    assert found.reason == "limits not counted"


async def test_without_the_state_the_worker_counts_for_itself() -> None:
    """Limits of every request and failed authentications go on in this worker's memory, and return to the store with it."""
    store = Away()
    limiter = Limiter(store, allow=False)
    limiter.take_always(STEP, exchange())
    limiter.take_always(STEP, exchange())
    with pytest.raises(Refusal, match="rate_limited"):
        limiter.take_always(STEP, exchange())
    with pytest.raises(Refusal, match="rate_limited"):
        await limiter.look(STEP, exchange())
    assert limiter.unavailable == {"passed": 0, "refused": 0, "own": 4}
    store.away = False
    limiter.take_always(STEP, exchange())


def test_a_full_memory_refuses() -> None:
    """Where not even the worker's own memory has room, what cannot be counted does not pass."""
    limiter = Limiter(Away(), allow=False)
    limiter._own._store._most_keys = 0  # type: ignore[attr-defined]
    with pytest.raises(Refusal, match="state_unavailable"):
        limiter.take_always(STEP, exchange())


async def test_over_a_redis_each_step_is_awaited() -> None:
    """The same limits, headers and refusals, whoever counts."""
    store = RedisStore(emptied().access())
    limiter, found = limiter_over(store, allow=False), exchange()
    await done(limiter.take(STEP, found))
    await done(limiter.take_always(STEP, exchange()))
    with pytest.raises(Refusal, match="rate_limited"):
        await done(limiter.take(STEP, exchange()))
    with pytest.raises(Refusal, match="rate_limited"):
        await limiter.look(STEP, exchange())
    assert found.limit_lines[0][1].startswith('"fair";r=1')
    assert [one.remaining for one in await limiter.peek(STEP.charges(exchange()), 0.0)] == [0]
    store.close()


async def test_without_its_redis_it_does_the_same_as_without_any_state() -> None:
    """A route's limits refuse or pass, those of every request go on in the worker, and nothing waits for long."""
    place = parse_redis_url(f"redis://127.0.0.1:{free_port()}")
    assert place is not None
    store = RedisStore(RedisAccess(place, timeout=0.5))
    refusing, passing = limiter_over(store, allow=False), limiter_over(store, allow=True)
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
    limiter = limiter_over(store, allow=False, leases=True)
    many = Step(
        [RouteLimit("many", parse_rate("100/hour"), "address", strategy="fixed-window")], "r"
    )
    waited = 0
    for left in range(99, -1, -1):
        found = exchange()
        waiting = limiter.take(many, found)
        waited += waiting is not None
        await done(waiting)
        assert found.limit_lines[0][1].startswith(f'"many";r={left};t=')
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
    limiter, many = limiter_over(store, allow=False, leases=True), Step([RouteLimit("many", parse_rate("100/hour"), "address", strategy="fixed-window")], "")  # fmt: skip
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
    limiter = limiter_over(store, allow=False, leases=True)
    await done(limiter.take_always(STEP, exchange()))
    with pytest.raises(Refusal, match="state_unavailable"):
        await done(limiter.take(STEP, exchange()))
    assert limiter.unavailable == {"passed": 0, "refused": 1, "own": 1}
    store.close()
