"""The three ledgers, asked alike: in memory, in LMDB, and in a real Redis whose time is what the test says."""

from collections.abc import Callable, Sequence
from pathlib import Path

from authproxy.model.rate import Balance, Charge
from authproxy.rate_limits.leased_ledger import LeasedLedger
from authproxy.rate_limits.ledger import Ledger
from authproxy.rate_limits.redis_ledger import RedisLedger
from authproxy.state.lmdb import LmdbStore
from authproxy.state.memory import MemoryStore
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import EmbeddedStore, Store
from tests.redis_server import emptied


class Asked:
    """A ledger over `store`, asked as a Redis must be."""

    def __init__(self, store: EmbeddedStore) -> None:
        self.store: Store = store
        self._ledger = Ledger(store)

    async def acquire(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """Charge them at this time."""
        return self._ledger.acquire(charges, now)

    async def peek(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """Look at this time."""
        return self._ledger.peek(charges, now)


class AskedRedis:
    """The same in a Redis of its own, empty at first."""

    def __init__(self, *, leased: bool = False) -> None:
        self.now = 0.0
        self.store: Store = RedisStore(emptied().access(), clock=lambda: self.now)
        assert isinstance(self.store, RedisStore)
        self.ledger = (
            LeasedLedger(self.store, clock=lambda: self.now) if leased else RedisLedger(self.store)
        )

    async def acquire(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """Charge them at this time."""
        self.now = now
        return await self.ledger.acquire(charges)

    async def peek(self, charges: Sequence[Charge], now: float) -> list[Balance]:
        """Look at this time."""
        self.now = now
        return await self.ledger.peek(charges)


AnyLedger = Asked | AskedRedis
LEDGERS: dict[str, Callable[[Path], AnyLedger]] = {
    "memory": lambda _folder: Asked(MemoryStore()),
    "lmdb": lambda folder: Asked(LmdbStore(folder, 1 << 20)),
    "redis": lambda _folder: AskedRedis(),
    "leased": lambda _folder: AskedRedis(leased=True),
}
