"""The reference: the limits package over its own MemoryStorage, with a clock of ours and without its races.

Its storage walks all keys in a timer's thread, by the wall clock; here that timer never runs (what expired is looked
at on every read anyway), so what is left is the strategies' meaning.
"""

import threading
from types import SimpleNamespace

import limits.storage.memory
import limits.strategies
import pytest
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import RateLimiter

from authproxy.model.rate import Charge


class NoTimer:
    def __init__(self, *_arguments: object) -> None:
        pass

    def start(self) -> None:
        pass

    def is_alive(self) -> bool:
        return True


class Reference:
    """Decides as limits does, at the time given."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._now = 0.0
        clock = SimpleNamespace(time=lambda: self._now)
        still = SimpleNamespace(RLock=threading.RLock, Timer=NoTimer)
        patch.setattr(limits.storage.memory, "time", clock)
        patch.setattr(limits.storage.memory, "threading", still)
        patch.setattr(limits.strategies, "time", clock)
        storage = MemoryStorage()
        self._strategies: dict[str, RateLimiter] = {
            name: kind(storage) for name, kind in limits.strategies.STRATEGIES.items()
        }

    def hit(self, charge: Charge, now: float) -> bool:
        self._now = now
        item = RateLimitItemPerSecond(charge.rate.amount, charge.rate.window)
        name = charge.key.hex() + charge.strategy
        return self._strategies[charge.strategy].hit(item, name, cost=charge.cost)

    def remaining(self, charge: Charge, now: float) -> int:
        self._now = now
        item = RateLimitItemPerSecond(charge.rate.amount, charge.rate.window)
        name = charge.key.hex() + charge.strategy
        return self._strategies[charge.strategy].get_window_stats(item, name).remaining
