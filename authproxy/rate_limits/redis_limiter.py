"""Takes the steps of a request in a Redis: the same limits and refusals as `limiter.py`, but what is asked of it is awaited.

With leases most steps are done at once, spent from what is in hand.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from authproxy.model.errors import Refusal, valued
from authproxy.model.exchange import Exchange
from authproxy.model.rate import Balance, Charge
from authproxy.rate_limits.leased_ledger import LeasedLedger
from authproxy.rate_limits.limiter import Limiter, Waiting
from authproxy.rate_limits.redis_ledger import RedisLedger
from authproxy.rate_limits.step import Step
from authproxy.state.memory import MemoryStore
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import StateUnavailable, Store


def _tried(
    take: Callable[[Step, Exchange], Waiting], step: Step, exchange: Exchange
) -> Waiting | Refusal:
    try:
        return take(step, exchange)
    except Refusal as refusal:
        return valued(refusal)


class RedisLimiter(Limiter):
    """Charges steps in a Redis: each is awaited."""

    __slots__ = ("_redis",)

    def __init__(self, ledger: RedisLedger, *, allow: bool) -> None:
        super().__init__(MemoryStore(), allow=allow)
        self._redis = ledger

    def take_each(
        self, taken: Sequence[tuple[Step, Exchange]], *, always: bool = False
    ) -> list[Waiting | Refusal]:
        take = self.take_always if always else self.take
        return [_tried(take, *one) for one in taken]

    def take(self, step: Step, exchange: Exchange) -> Waiting:
        return self._take(step, exchange)

    async def _take(self, step: Step, exchange: Exchange) -> None:
        try:
            balances = await self._redis.acquire(step.charges(exchange))
        except StateUnavailable as error:
            self._pass_or_refuse(exchange, error)
            return
        step.settle(exchange, balances, show=True)

    def take_always(self, step: Step, exchange: Exchange) -> Waiting:
        return self._take_always(step, exchange)

    async def _take_always(self, step: Step, exchange: Exchange) -> None:
        charges = step.charges(exchange)
        try:
            balances = await self._redis.acquire(charges)
        except StateUnavailable:
            balances = self._own_balances(charges, exchange)
        step.settle(exchange, balances, show=False)

    def look(self, step: Step, exchange: Exchange) -> Coroutine[Any, Any, None]:
        return self._look(step, exchange)

    async def _look(self, step: Step, exchange: Exchange) -> None:
        charges = step.charges(exchange)
        try:
            balances = await self._redis.peek(charges)
        except StateUnavailable:
            balances = self._own_look(charges, exchange)
        step.settle(exchange, balances, show=False)

    async def peek(self, charges: Sequence[Charge], now: float) -> list[Balance]:  # noqa: ARG002  # the interface
        return await self._redis.peek(charges)


class LeasedLimiter(RedisLimiter):
    """The same with slices: a step that spends what is in hand is done at once."""

    __slots__ = ("_leased",)

    def __init__(self, ledger: LeasedLedger, *, allow: bool) -> None:
        super().__init__(ledger, allow=allow)
        self._leased = ledger

    def take(self, step: Step, exchange: Exchange) -> Waiting:
        balances = self._leased.spend(step.charges(exchange))
        if balances is None:
            return self._take(step, exchange)
        step.settle(exchange, balances, show=True)
        return None

    def take_always(self, step: Step, exchange: Exchange) -> Waiting:
        balances = self._leased.spend(step.charges(exchange))
        if balances is None:
            return self._take_always(step, exchange)
        step.settle(exchange, balances, show=False)
        return None


def redis_limiter(store: Store, *, allow: bool, leases: bool) -> RedisLimiter:
    """What takes steps in this Redis; with `leases`, a part of them in advance."""
    assert isinstance(store, RedisStore)
    if leases:
        return LeasedLimiter(LeasedLedger(store), allow=allow)
    return RedisLimiter(RedisLedger(store), allow=allow)
