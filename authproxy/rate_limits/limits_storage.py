"""Our state as a storage of the limits package, `authproxy+lmdb:///DIR`, so that others may count in it too.

Importing this module registers it. Sliding and moving windows are the very steps of strategies.py; the fixed window is
limits' own `incr`, which counts refused hits as well. Keys are hashed under a name of their own and never meet the
proxy's, and nothing of the proxy comes through here. As with any LmdbStore: one a process, used after the fork.
"""

import time
from bisect import bisect_left
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from limits.storage.base import MovingWindowSupport, SlidingWindowCounterSupport, Storage

from authproxy.model.rate import MOVING_WINDOW_MOST, Charge, Rate, Strategy
from authproxy.rate_limits.keys import limit_key
from authproxy.rate_limits.ledger import Ledger
from authproxy.rate_limits.strategies import FIXED, SLIDING
from authproxy.state.lmdb import LmdbStore
from authproxy.state.store import Put, StateUnavailable


class AuthproxyStorage(Storage, MovingWindowSupport, SlidingWindowCounterSupport):
    """What limits' strategies want of a storage; `reset` is not offered, as with limits' own memcached storage."""

    STORAGE_SCHEME = ["authproxy+lmdb"]  # declared so by limits

    def __init__(self, uri: str, wrap_exceptions: bool = False, **_: float | str | bool) -> None:
        super().__init__(uri, wrap_exceptions=wrap_exceptions)
        self._store = LmdbStore(Path(unquote(urlsplit(uri).path)))
        self._ledger = Ledger(self._store)

    @property
    def base_exceptions(self) -> type[Exception]:
        return StateUnavailable

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        hashed, now = _hashed("fixed-window", key), time.time()
        return self._store.transact([hashed], now, partial(_add, hashed, amount, now + expiry))

    def get(self, key: str) -> int:
        record = self._read("fixed-window", key, time.time())
        return int(FIXED.unpack(record)[1]) if record else 0

    def get_expiry(self, key: str) -> float:
        now = time.time()
        record = self._read("fixed-window", key, now)
        return float(FIXED.unpack(record)[0]) if record else now

    def check(self) -> bool:
        try:
            self._store.open()
        except StateUnavailable:
            return False
        return True

    def reset(self) -> int | None:
        raise NotImplementedError("the counters are shared with others")

    def clear(self, key: str) -> None:
        self._remove("fixed-window", key)
        self._remove("moving-window", key)

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        if limit > MOVING_WINDOW_MOST:
            raise ValueError(f"a moving window holds at most {MOVING_WINDOW_MOST}")
        return self._acquire("moving-window", key, Rate(limit, expiry), amount)

    def get_moving_window(
        self,
        key: str,
        limit: int,  # noqa: ARG002  # the interface of limits
        expiry: int,
    ) -> tuple[float, int]:
        now = time.time()
        stamps = memoryview(self._read("moving-window", key, now) or b"").cast("d")
        first = bisect_left(stamps, now - expiry)
        return (stamps[first], len(stamps) - first) if first < len(stamps) else (now, 0)

    def acquire_sliding_window_entry(
        self, key: str, limit: int, expiry: int, amount: int = 1
    ) -> bool:
        return self._acquire("sliding-window-counter", key, Rate(limit, expiry), amount)

    def get_sliding_window(self, key: str, expiry: int) -> tuple[int, float, int, float]:
        now = time.time()
        index, left = int(now / expiry), expiry - now % expiry
        record = self._read("sliding-window-counter", key, now)
        last, before, count = SLIDING.unpack(record) if record else (index, 0, 0)
        previous, current = (before, count) if last >= index else (count, 0)
        return previous, left if previous else 0.0, current, left + expiry

    def clear_sliding_window(
        self,
        key: str,
        expiry: int,  # noqa: ARG002  # the interface of limits
    ) -> None:
        self._remove("sliding-window-counter", key)

    def _acquire(self, strategy: Strategy, key: str, rate: Rate, cost: int) -> bool:
        charge = Charge(_hashed(strategy, key), rate, strategy, cost)
        return self._ledger.acquire([charge], time.time())[0].granted

    def _read(self, strategy: Strategy, key: str, now: float) -> bytes | None:
        return self._store.read([_hashed(strategy, key)], now)[0]

    def _remove(self, strategy: Strategy, key: str) -> None:
        gone = (_hashed(strategy, key), b"", 0.0)
        self._store.transact([], time.time(), lambda _records: ([gone], None))


def _hashed(strategy: Strategy, key: str) -> bytes:
    return limit_key("limits", strategy, key)


def _add(key: bytes, amount: int, end: float, records: list[bytes | None]) -> tuple[list[Put], int]:
    begun, count = FIXED.unpack(records[0]) if records[0] else (end, 0)
    return [(key, FIXED.pack(begun, count + amount), begun)], count + amount
