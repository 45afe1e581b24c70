"""The counters of all machines that share a Redis: what reaches them is a step in Lua, taken as one (`run`).

What a limit's step is stands in rate_limits/redis_ledger.py. Times are Redis's own, so that the clocks of machines need not
agree; what has expired Redis removes by itself. Each key stands alone: nothing here asks that two be in one slot.
"""

from collections.abc import Callable, Sequence
from typing import Any

from authproxy.state.redis import Redis, Script, Word
from authproxy.state.redis_access import RedisAccess
from authproxy.state.store import Store

PREFIX = b"authproxy:c:"

# KEYS: one. ARGV: a number, the seconds that it is remembered for. 1 where it is greater than the one there.
ADVANCE = Script("""
local held = redis.call('GET', KEYS[1])
if held and tonumber(held) >= tonumber(ARGV[1]) then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', math.max(1, math.ceil(tonumber(ARGV[2]) * 1000)))
return 1
""")


class RedisStore(Store):
    """Counters in the Redis of `access`. `clock` takes the place of Redis's own clock: for tests. `round_trips` counts the
    calls that were made.
    """

    def __init__(self, access: RedisAccess, clock: Callable[[], float] | None = None) -> None:
        self.redis = Redis(access, "counters")
        self._clock = clock
        self.round_trips = 0

    def open(self) -> None:
        self.redis.begin()

    async def run(self, script: Script, keys: Sequence[bytes], arguments: Sequence[Word]) -> Any:
        """One step: a script over these keys of 16 bytes. Its first argument is the time, empty where Redis is to say it.

        Raises:
            StateUnavailable: it may have been taken or not.
        """
        self.round_trips += 1
        now = "" if self._clock is None else repr(self._clock())
        return await self.redis.run(script, [PREFIX + key for key in keys], [now, *arguments])

    async def advance(self, key: bytes, number: int, expiry: float, now: float) -> bool:
        self.round_trips += 1
        return bool(await self.redis.run(ADVANCE, [PREFIX + key], [number, expiry - now]))

    def sweep(self, now: float, most: int) -> int:  # noqa: ARG002  # the interface
        return 0  # Redis removes what has expired

    def close(self) -> None:
        self.redis.close()
