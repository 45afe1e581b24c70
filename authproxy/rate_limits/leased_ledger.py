"""Charging in a Redis with slices: what is in hand is spent at once, all else is one call, as in redis_ledger.py.

A call that brings a slice is carried to its end whatever becomes of the request that made it, and others of the same key
wait for it. A Redis that is another one voids what is in hand: it knows nothing of it.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from authproxy.model.rate import Balance, Charge
from authproxy.rate_limits.leases import PART_OF_LEFT, Leases, Part, Told
from authproxy.rate_limits.redis_ledger import ARITHMETIC, STRATEGY_LETTERS, RedisLedger
from authproxy.state.redis import Script, Word
from authproxy.state.redis_store import RedisStore

# KEYS: one a charge. ARGV: the time (empty: Redis's own), then six words a charge: strategy, amount, window, cost, 1 where it is
# binding, and what is wanted beyond the cost. Comes to six values a charge: granted, remaining, reset, what was charged beyond
# the cost, the end of the window, and the seconds left of it. Where a binding charge was refused, nothing was charged.
LEASE = Script(
    ARITHMETIC
    + """
local answer, refused = {}, false
for i, key in ipairs(KEYS) do
  local at = 2 + (i - 1) * 6
  local amount, window, cost = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local step = steps[ARGV[at]]
  local granted, remaining, reset = step(key, amount, window, cost)
  local extra, ends = 0, 0
  if granted then
    local most = math.floor(math.floor(remaining / PART_OF_LEFT) / cost) * cost
    extra = math.min(tonumber(ARGV[at + 5]), most)
    if extra > 0 then granted, remaining = step(key, amount, window, extra) end
    local values = kept[key].values
    if values then ends = #values == 2 and values[1] or (values[1] + 1) * window end
  end
  refused = refused or not granted and ARGV[at + 4] == '1'
  answer[#answer + 1] = granted and 1 or 0
  answer[#answer + 1] = remaining
  answer[#answer + 1] = string.format('%.17g', reset)
  answer[#answer + 1] = extra
  answer[#answer + 1] = string.format('%.17g', ends)
  answer[#answer + 1] = string.format('%.17g', math.min(ends - now, window))
end
if not refused then write_all() end
return answer
""".replace("PART_OF_LEFT", str(PART_OF_LEFT))
)


def since_boot() -> float:
    """Seconds that nobody sets, and that go on while the machine sleeps."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class LeasedLedger(RedisLedger):
    """Limits counted in `store`, a part of them in advance; `clock` is the worker's own."""

    def __init__(self, store: RedisStore, clock: Callable[[], float] = since_boot) -> None:
        super().__init__(store)
        self._clock = clock
        self._leases = Leases()
        self._epoch = store.redis.epoch
        self._coming: dict[bytes, asyncio.Future[None]] = {}  # keys that a slice is under way of

    def spend(self, charges: Sequence[Charge]) -> list[Balance] | None:
        """The balances of a step that needs no call; None where it needs one."""
        epoch = self._store.redis.epoch
        if epoch != self._epoch:
            self._epoch = epoch
            self._leases.clear()
        return self._leases.spend(charges, self._clock())

    async def acquire(self, charges: Sequence[Charge]) -> list[Balance]:
        """`Ledger.acquire`; those that find a slice under way wait for it, once.

        Raises:
            StateUnavailable: what was counted, if anything, was never granted.
        """
        balances = self.spend(charges)
        coming = {self._coming[c.key] for c in charges if c.key in self._coming}
        if balances is None and coming:
            await asyncio.wait(coming)
            balances = self.spend(charges)
        if balances is None and charges:
            asking = asyncio.get_running_loop().create_task(self._ask(charges))
            balances = await asyncio.shield(asking)
        return balances or []

    async def peek(self, charges: Sequence[Charge]) -> list[Balance]:
        """`Ledger.peek`; what this worker has in hand is left.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        now, balances = self._clock(), []
        for charge, balance in zip(charges, await super().peek(charges), strict=True):
            held = self._leases.in_hand(charge.key, now)
            granted = balance.granted or held >= charge.cost
            balances.append(Balance(granted, balance.remaining + held, balance.reset))
        return balances

    def _ask(self, charges: Sequence[Charge]) -> Coroutine[Any, Any, list[Balance]]:
        """A call; that it is under way is known from now on, not from when it is sent."""
        asked = self._clock()
        slices = not any(charge.key in self._coming for charge in charges)
        parts = self._leases.ask(charges, asked, slices=slices)
        done = asyncio.get_running_loop().create_future()
        keys = [part.charge.key for part in parts if part.want]
        self._coming.update(dict.fromkeys(keys, done))
        return self._answered(parts, asked, keys, done)

    async def _answered(
        self, parts: Sequence[Part], asked: float, keys: Sequence[bytes], done: asyncio.Future[None]
    ) -> list[Balance]:
        try:
            told = await self._told([part for part in parts if part.lease is None])
        except BaseException:
            self._leases.failed(parts)
            raise
        finally:
            for key in keys:
                del self._coming[key]
            done.set_result(None)
        return self._leases.answered(parts, told, asked, self._clock())

    async def _told(self, parts: Sequence[Part]) -> list[Told]:
        words: list[Word] = []
        for charge, _, want in parts:
            rate, letter = charge.rate, STRATEGY_LETTERS[charge.strategy]
            words += (letter, rate.amount, rate.window, charge.cost, int(charge.binding), want)
        answer: list[Any] = await self._store.run(LEASE, [part.charge.key for part in parts], words)
        return [
            Told(Balance(bool(granted), remaining, float(reset)), extra, float(end), float(left))
            for granted, remaining, reset, extra, end, left in zip(*[iter(answer)] * 6, strict=True)
        ]
