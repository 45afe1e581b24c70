"""What becomes of limits when the state cannot be reached, and that looking costs nothing."""

import gc
import weakref
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.limiter import Limiter
from authproxy.rate_limits.step import AccountStep, Step
from authproxy.state.memory import MemoryStore
from authproxy.state.store import StateUnavailable

STEP = Step(
    [RouteLimit("fair", parse_rate("2/minute"), "address", strategy="fixed-window")], "route"
)

SEVERAL = Step(
    [RouteLimit(name, parse_rate("2/minute"), "address") for name in ("a", "b")], "route"
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
    assert found.limits[0][1].remaining == 1


def test_a_refusal_goes_with_the_request_that_it_refused() -> None:
    """It is in no circle, raised or as a value: the collector may come after hours, and each would be kept until then."""
    limiter, seen = Limiter(MemoryStore(), allow=False), []

    def ask(*, raised: bool = True) -> None:
        asked = exchange()
        asked.engine = Away()
        seen.append(weakref.ref(asked.engine))
        if raised:
            limiter.take(STEP, asked)
        else:
            limiter.take_each([(STEP, asked)])

    gc.disable()
    try:
        ask()
        ask()
        for _ in range(2):
            with suppress(Refusal):
                ask()
        ask(raised=False)
        assert [one() for one in seen] == [None] * 5
    finally:
        gc.enable()


@pytest.mark.parametrize("always", [False, True])
@pytest.mark.parametrize("allow", [False, True])
@pytest.mark.parametrize("step", [STEP, SEVERAL])
def test_a_store_that_is_away_keeps_no_request(step: Step, allow: bool, always: bool) -> None:
    """Nor is its error in a circle, whether it became a refusal, a pass or a count of our own."""
    limiter, seen = Limiter(Away(), allow=allow), []

    def ask(*, raised: bool) -> None:
        asked = exchange()
        asked.engine = Away()
        seen.append(weakref.ref(asked.engine))
        if not raised:
            limiter.take_each([(step, asked)], always=always)
            return
        with suppress(Refusal):
            (limiter.take_always if always else limiter.take)(step, asked)

    gc.disable()
    try:
        ask(raised=True)
        ask(raised=False)
        assert [one() for one in seen] == [None, None]
    finally:
        gc.enable()


def test_those_that_come_together_are_each_counted_as_alone() -> None:
    """One limit, several, and one in shadow, in one go: each has its own outcome, in the order in which they came."""
    rate = parse_rate("1/minute")
    limits = [RouteLimit(name, rate, "address", strategy="fixed-window") for name in ("a", "b")]
    several, shadow = Step(limits, "several"), Step([replace(limits[0], shadow=True)], "shadow")
    steps = [STEP, several, STEP, shadow, several, STEP, shadow]
    found = [exchange() for _ in steps]
    told = Limiter(MemoryStore(), allow=False).take_each(list(zip(steps, found, strict=True)))
    assert [isinstance(one, Refusal) for one in told] == [False] * 4 + [True, True, False]
    assert [one.shadow for one in found] == [""] * 6 + ["rate_limited"]
    assert [len(one.limits) for one in found] == [1, 2, 1, 0, 2, 1, 0]


def test_what_is_counted_by_account_needs_nothing_of_the_request() -> None:
    """Its one limit is not taken for one of the exchange: tries at one account are counted together, whoever makes them."""
    limiter, by_account = (
        Limiter(MemoryStore(), allow=False),
        RouteLimit("tries", parse_rate("2/minute"), "subject"),
    )
    for _ in range(2):
        limiter.take_always(AccountStep([by_account], "ann"), exchange())
    limiter.take_always(AccountStep([by_account], "bob"), exchange())
    with pytest.raises(Refusal, match="rate_limited"):
        limiter.take_always(AccountStep([by_account], "ann"), exchange())


async def test_looking_charges_nothing() -> None:
    """`look` refuses only where there is no room, however often it is asked."""
    limiter = Limiter(MemoryStore(), allow=False)
    for _ in range(10):
        limiter.look(STEP, exchange())
    limiter.take(STEP, exchange())
    limiter.take(STEP, exchange())
    with pytest.raises(Refusal, match="rate_limited"):
        limiter.look(STEP, exchange())


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
        limiter.look(STEP, exchange())
    assert limiter.unavailable == {"passed": 0, "refused": 0, "own": 4}
    store.away = False
    limiter.take_always(STEP, exchange())


def test_a_full_memory_refuses() -> None:
    """Where not even the worker's own memory has room, what cannot be counted does not pass."""
    limiter = Limiter(Away(), allow=False)
    limiter._own._store._most_keys = 0  # type: ignore[attr-defined]
    with pytest.raises(Refusal, match="state_unavailable"):
        limiter.take_always(STEP, exchange())
