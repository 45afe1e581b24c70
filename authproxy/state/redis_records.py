"""Durable records of all machines that share a Redis. They outlive what its own persistence outlives, and no more.

A record is a string under its kind and key, which Redis itself lets expire; beside it stand its kind's order of writing and
the moments at which records end, as sorted sets. A sequence is Redis's time in microseconds, or one more than the last: a
Redis that lost its last writes, or all, still goes on above what anybody has seen. All keys are in one slot (`{r}`).
"""

import asyncio
import math
import random
import time
from collections.abc import Callable
from typing import TypeVar

from authproxy.state.records import Change, Record, Records, check_key, check_value
from authproxy.state.redis import Redis, Script
from authproxy.state.redis_access import RedisAccess
from authproxy.state.store import StateUnavailable

T = TypeVar("T")

PREFIX = b"authproxy:{r}:"
ENDS = PREFIX + b"ends"
# How much longer than its time Redis keeps a record, in seconds: machines' clocks may differ by as much.
SLACK = 60.0
PAGE = 1_000
ATTEMPTS = 100
# Of as many steps on one record at once each waits a little before it tries again, in seconds at most.
CROWD, SHY = 3, 0.005
SWEEP_EVERY = 5.0
# A value is the sequence in 16 digits, a space, the expiry, a newline, and the record.
DIGITS = 16

# KEYS: record, order, last, ends. ARGV: the sequence it must have (empty: not there; *: any), expiry, milliseconds to live
# (empty: for ever), key, kind and key, record. 1 where it was written.
WRITE = Script("""
if ARGV[1] ~= '*' and redis.call('GETRANGE', KEYS[1], 0, 15) ~= ARGV[1] then return 0 end
local time = redis.call('TIME')
local last = tonumber(redis.call('GET', KEYS[3]) or 0)
local sequence = math.max(tonumber(time[1]) * 1000000 + tonumber(time[2]), last + 1)
local text = string.format('%016.0f', sequence)
local value = text .. ' ' .. ARGV[2] .. '\\n' .. ARGV[6]
redis.call('SET', KEYS[3], text)
redis.call('ZADD', KEYS[2], text, ARGV[4])
if ARGV[3] == '' then
  redis.call('SET', KEYS[1], value)
  redis.call('ZREM', KEYS[4], ARGV[5])
else
  redis.call('SET', KEYS[1], value, 'PX', ARGV[3])
  redis.call('ZADD', KEYS[4], ARGV[2], ARGV[5])
end
return 1
""")
# KEYS: record, order, ends. ARGV: key, kind and key. 1 where it was there.
REMOVE = Script("""
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[2])
return redis.call('DEL', KEYS[1])
""")
# KEYS: ends. ARGV: the time, how many at most, the prefix of all keys. How many were removed. A clock that is ahead removes
# nothing before its time by Redis's clock.
SWEEP = Script("""
local now = math.min(tonumber(ARGV[1]), tonumber(redis.call('TIME')[1]))
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('%.17g', now), 'LIMIT', 0, ARGV[2])
for _, member in ipairs(due) do
  local kind, key = string.match(member, '^(%Z*)%z(.*)$')
  redis.call('DEL', ARGV[3] .. 'at:' .. kind .. ':' .. key)
  redis.call('ZREM', ARGV[3] .. 'order:' .. kind, key)
  redis.call('ZREM', KEYS[1], member)
end
return #due
""")


class RedisRecords(Records):
    """Records in the Redis of `access`. `clock` is what expiries are compared with to tell Redis how long a record lives;
    a sweep asks Redis `sweep_every` seconds after the last one at the earliest.
    """

    def __init__(
        self,
        access: RedisAccess,
        clock: Callable[[], float] = time.time,
        sweep_every: float = SWEEP_EVERY,
    ) -> None:
        self.redis = Redis(access, "records")
        self._clock = clock
        self._sweep_every = sweep_every
        self._next_sweep = -math.inf

    @property
    def epoch(self) -> int:
        return self.redis.epoch

    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        record = _read(key, await self.redis.call("GET", _place(kind, key)))
        return record.value if record is not None and record.expiry > now else None

    async def put(self, kind: str, key: bytes, value: bytes, expiry: float) -> None:
        check_key(key)
        check_value(value)
        await self._write(kind, key, b"*", value, expiry)

    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        check_key(key)
        for attempt in range(ATTEMPTS):
            held = await self.redis.call("GET", _place(kind, key))
            record = _read(key, held)
            alive = record is not None and record.expiry > now
            value, expiry, outcome = change(record.value if record is not None and alive else None)
            if value is None:
                return outcome
            check_value(value)
            if await self._write(kind, key, held[:DIGITS] if held else b"", value, expiry):
                return outcome
            if attempt >= CROWD:
                await asyncio.sleep(random.uniform(0, SHY))  # noqa: S311  # nothing secret
        raise StateUnavailable(f"{self.redis.name}: too many write the same record")

    async def _write(
        self, kind: str, key: bytes, expected: bytes, value: bytes, expiry: float
    ) -> bool:
        left = expiry - self._clock() + SLACK
        lives = "" if math.isinf(left) else max(1, math.ceil(left * 1000))
        keys = [_place(kind, key), _order(kind), _last(kind), ENDS]
        words = [expected, repr(expiry), lives, key, _member(kind, key), value]
        return bool(await self.redis.run(WRITE, keys, words))

    async def remove(self, kind: str, key: bytes) -> bool:
        keys = [_place(kind, key), _order(kind), ENDS]
        return bool(await self.redis.run(REMOVE, keys, [key, _member(kind, key)]))

    async def since(
        self, kind: str, sequence: int, now: float, most: int | None = None
    ) -> list[Record]:
        found: list[Record] = []
        while True:
            written = await self._written_after(kind, sequence)
            places = [_place(kind, key) for key, _ in written]
            values = await self.redis.call("MGET", *places) if places else []
            for (key, at), value in zip(written, values, strict=True):
                record = _read(key, value)
                # One that was written again meanwhile is told where it stands then.
                if record is not None and record.sequence == at and record.expiry > now:
                    found.append(record)
            if len(written) < PAGE or (most is not None and len(found) >= most):
                return found[:most]
            sequence = written[-1][1]

    async def _written_after(self, kind: str, sequence: int) -> list[tuple[bytes, int]]:
        """Up to `PAGE` keys and sequences, in the order of writing; what they name may be gone."""
        told = await self.redis.call(
            "ZRANGEBYSCORE", _order(kind), f"({sequence}", "+inf", "WITHSCORES", "LIMIT", 0, PAGE
        )
        return [(key, int(score)) for key, score in zip(told[::2], told[1::2], strict=True)]

    async def latest(self, kind: str) -> int:
        return int(await self.redis.call("GET", _last(kind)) or 0)

    async def count(self, kind: str) -> int:
        return int(await self.redis.call("ZCARD", _order(kind)))

    async def sweep(self, now: float, most: int) -> int:
        at = asyncio.get_running_loop().time()
        if at < self._next_sweep:
            return 0
        self._next_sweep = at + self._sweep_every * random.uniform(0.5, 1.5)  # noqa: S311  # nothing secret
        removed = int(await self.redis.run(SWEEP, [ENDS], [repr(now), most, PREFIX]))
        if removed == most:
            self._next_sweep = at  # there may be more
        return removed

    def close(self) -> None:
        self.redis.close()


def _place(kind: str, key: bytes) -> bytes:
    return b"%bat:%b:%b" % (PREFIX, kind.encode(), key)


def _order(kind: str) -> bytes:
    return b"%border:%b" % (PREFIX, kind.encode())


def _last(kind: str) -> bytes:
    return b"%blast:%b" % (PREFIX, kind.encode())


def _member(kind: str, key: bytes) -> bytes:
    return b"%b\0%b" % (kind.encode(), key)


def _read(key: bytes, written: bytes | None) -> Record | None:
    if written is None:
        return None
    head, _, value = written.partition(b"\n")
    sequence, _, expiry = head.partition(b" ")
    return Record(key, value, float(expiry), int(sequence))
