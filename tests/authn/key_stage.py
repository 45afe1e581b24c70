"""What the tests of remote key sets play on: an issuer, a clock that is set, records, and as many workers as they like."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from authproxy.authn.key_source import KeySource
from authproxy.authn.remote_keys import KIND, KeySetState, RemoteKeys
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import Change
from authproxy.state.store import StateUnavailable
from tests.issuer import CountingIssuer, issuing

T = TypeVar("T")
DAY, HOUR = 86400.0, 3600.0


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Faltering(MemoryRecords):
    """Records that may be away."""

    away = False

    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        if self.away:
            raise StateUnavailable("away")
        return await super().update(kind, key, now, change)


class Stage:
    """An issuer, a clock, records, and as many workers as are asked for."""

    def __init__(self, issuer: CountingIssuer) -> None:
        self.issuer, self.clock, self.records = issuer, Clock(), Faltering()
        self.workers: list[RemoteKeys] = []

    def worker(self, **keys: Any) -> RemoteKeys:
        """The key set as one more worker has it."""
        settings = self.issuer.settings(**keys)
        made = RemoteKeys(KeySource("tokens", settings), settings.keys, b"", self.clock)
        made.records = self.records
        self.workers.append(made)
        return made

    async def look(self, *workers: RemoteKeys) -> None:
        """Each looks once, and what it begins is done."""
        for one in workers or self.workers:
            one.look()
        for one in workers or self.workers:
            if one._asking is not None:
                await one._asking

    async def learn(self) -> None:
        """What is written is known to all."""
        for one in self.workers:
            for record in await self.records.since(KIND, 0, self.clock.now):
                await one.learn(record.value)


@asynccontextmanager
async def staged() -> AsyncIterator[Stage]:
    """The stage, whose workers end with it."""
    async with issuing() as issuer:
        made = Stage(issuer)
        yield made
        for one in made.workers:
            await one.close()


async def state_of(stage: Stage) -> KeySetState:
    """What is written."""
    (record,) = await stage.records.since(KIND, 0, stage.clock.now)
    state = KeySetState.read(record.value)
    assert state is not None
    return state
