"""Charging in a Redis: every limit of one step of a request in one script, which says what may be, what is left, and when.

The script is strategies.py in Lua, formula by formula and in the same doubles, so that a balance does not depend on where it
was counted; the conformance suite holds it to that. The time is Redis's own: machines whose clocks differ count the same.
"""

from collections.abc import Sequence
from typing import Any

from authproxy.model.rate import Balance, Charge, Strategy
from authproxy.rate_limits.ledger import uncharged
from authproxy.rate_limits.strategies import SLACK
from authproxy.state.redis import Script, Word
from authproxy.state.redis_store import RedisStore

STRATEGY_LETTERS: dict[Strategy, str] = {
    "fixed-window": "f",
    "moving-window": "m",
    "sliding-window-counter": "s",
}

# KEYS: one a charge. ARGV: the time (empty: Redis's own), 1 to charge and 0 to look, then five words a charge: strategy, amount,
# window, cost, and 1 where it is binding. Comes to 1 where the step was charged, then three values a charge: granted, remaining
# and reset. A fixed window is kept as its end and count, a sliding one as number, count before and count (doubles); a
# moving one as a list, the moment of each unit, oldest first.
ARITHMETIC = """
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) + tonumber(time[2]) / 1000000
end
local kept = {}

local function fixed(key, amount, window, cost)
  local raw, ends, count = redis.call('GET', key), 0, 0
  if kept[key] then ends, count = unpack(kept[key].values)
  elseif raw then ends, count = struct.unpack('<dd', raw) end
  if ends <= now or ends > now + 2 * window then ends, count = now + window, 0
  elseif ends > now + window then ends = now + window end
  count = count + cost
  if count > amount then
    return false, math.max(0, amount - count + cost), cost <= amount and ends - now or window
  end
  kept[key] = {values = {ends, count}, expiry = ends}
  return true, amount - count, ends - now
end

local function wait(amount, window, cost, previous, current, left)
  local room = amount - cost + 1
  if room < 1 then return window end
  if current < room then return math.max(0, left - (room - current) * window / previous) end
  return left + window - room * window / current
end

local function sliding(key, amount, window, cost)
  local at, raw = now, redis.call('GET', key)
  local index, previous, current = math.floor(at / window), 0, 0
  local last, before, count
  if kept[key] then last, before, count = unpack(kept[key].values)
  elseif raw then last, before, count = struct.unpack('<ddd', raw) end
  if last then
    if last == index + 1 then index, at = last, last * window end
    if last == index then previous, current = before, count
    elseif last == index - 1 then previous = count end
  end
  local left = (1 - math.fmod((at - window) / window, 1)) * window
  local weight = previous * left / window
  local used = math.floor(weight + current)
  current = current + cost
  local after = math.floor(weight + current)
  if used + cost > amount or after > amount then
    return false, used < amount and amount - used or 0,
      wait(amount, window, cost, previous, current - cost, left)
  end
  kept[key] = {values = {index, previous, current}, expiry = (index + 2) * window}
  return true, amount - after, weight >= 1 and math.fmod(left, window / previous) or left
end

local function stamp(key, i)
  return math.min(now, tonumber(redis.call('LINDEX', key, i)))
end

local function moving(key, amount, window, cost)
  local held = kept[key]
  if not held then
    held = {stamps = redis.call('LLEN', key), first = 0, added = 0, expiry = now + window + SLACK}
    if held.stamps > 0 then
      local last = tonumber(redis.call('LINDEX', key, -1))
      held.void = last > now + window
      held.ahead = last > now and not held.void
      if held.void then held.stamps = 0 end
    end
    local low, high = 0, held.stamps
    while low < high do
      local middle = math.floor((low + high) / 2)
      if stamp(key, middle) < now - window then low = middle + 1 else high = middle end
    end
    held.first = low
  end
  local used = held.stamps - held.first + held.added
  local function live(i)
    if held.first + i < held.stamps then return stamp(key, held.first + i) end
    return now
  end
  if used + cost > amount then
    return false, math.max(0, amount - used),
      cost <= amount and live(used + cost - amount - 1) + window - now or window
  end
  local oldest = live(0)
  held.added = held.added + cost
  kept[key] = held
  return true, amount - used - cost, oldest + window - now
end

local function write_stamps(key, held)
  if held.void then redis.call('DEL', key) end
  if held.first > 0 then redis.call('LTRIM', key, held.first, -1) end
  local text = string.format('%.17g', now)
  if held.ahead then
    for i = held.stamps - held.first - 1, 0, -1 do
      if tonumber(redis.call('LINDEX', key, i)) <= now then break end
      redis.call('LSET', key, i, text)
    end
  end
  for _ = 1, held.added do redis.call('RPUSH', key, text) end
end

local steps = {f = fixed, s = sliding, m = moving}

local function write_all()
  for key, held in pairs(kept) do
    local lives = math.max(1, math.ceil((held.expiry - now) * 1000))
    if held.values then
      local form = #held.values == 2 and '<dd' or '<ddd'
      redis.call('SET', key, struct.pack(form, unpack(held.values)), 'PX', lives)
    else
      write_stamps(key, held)
      redis.call('PEXPIRE', key, lives)
    end
  end
end
""".replace("SLACK", repr(SLACK))

STEP = Script(
    ARITHMETIC
    + """
local answer, refused = {1}, false
for i, key in ipairs(KEYS) do
  local at = 3 + (i - 1) * 5
  local amount, window, cost = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local granted, remaining, reset = steps[ARGV[at]](key, amount, window, cost)
  refused = refused or not granted and ARGV[at + 4] == '1'
  answer[#answer + 1] = granted and 1 or 0
  answer[#answer + 1] = remaining
  answer[#answer + 1] = string.format('%.17g', reset)
end
if refused or ARGV[2] ~= '1' then answer[1] = 0 else write_all() end
return answer
"""
)


class RedisLedger:
    """Limits counted in `store`, with the promises of `Ledger`; the time is Redis's."""

    def __init__(self, store: RedisStore) -> None:
        self._store = store

    async def acquire(self, charges: Sequence[Charge]) -> list[Balance]:
        """`Ledger.acquire`.

        Raises:
            StateUnavailable: what was counted, if anything, was never granted.
        """
        return await self._step(charges, charging=True)

    async def peek(self, charges: Sequence[Charge]) -> list[Balance]:
        """`Ledger.peek`.

        Raises:
            StateUnavailable: Redis did not answer.
        """
        return await self._step(charges, charging=False)

    async def _step(self, charges: Sequence[Charge], *, charging: bool) -> list[Balance]:
        if not charges:
            return []
        words: list[Word] = [int(charging)]
        for charge in charges:
            rate, letter = charge.rate, STRATEGY_LETTERS[charge.strategy]
            words += (letter, rate.amount, rate.window, charge.cost, int(charge.binding))
        told: list[Any] = await self._store.run(STEP, [charge.key for charge in charges], words)
        balances = [
            Balance(bool(told[at]), told[at + 1], float(told[at + 2]))
            for at in range(1, len(told), 3)
        ]
        return balances if told[0] else uncharged(charges, balances)
