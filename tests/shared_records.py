"""Records in a dict, for what only needs their interface."""

from typing import TypeVar

from authproxy.state.records import Change, Record, Records
from authproxy.state.store import StateUnavailable

T = TypeVar("T")


class SharedRecords(Records):
    """Several workers may share one; `away` has everything fail."""

    def __init__(self) -> None:
        self.found: dict[tuple[str, bytes], Record] = {}
        self.sequence = 0
        self.away = False

    def _check(self) -> None:
        if self.away:
            raise StateUnavailable("away")

    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        self._check()
        record = self.found.get((kind, key))
        return record.value if record is not None and record.expiry > now else None

    async def put(self, kind: str, key: bytes, value: bytes, expiry: float) -> None:
        await self.update(kind, key, 0, lambda _: (value, expiry, None))

    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        self._check()
        value, expiry, outcome = change(await self.get(kind, key, now))
        if value is not None:
            self.sequence += 1
            self.found[kind, key] = Record(key, value, expiry, self.sequence)
        return outcome

    async def remove(self, kind: str, key: bytes) -> bool:
        return self.found.pop((kind, key), None) is not None

    async def since(self, kind: str, sequence: int, now: float) -> list[Record]:
        self._check()
        return [
            x
            for (k, _), x in self.found.items()
            if k == kind and x.sequence > sequence and x.expiry > now
        ]

    async def latest(self, kind: str) -> int:
        self._check()
        return max((x.sequence for (k, _), x in self.found.items() if k == kind), default=0)

    async def sweep(self, now: float, most: int) -> int:
        return 0

    def close(self) -> None:
        pass
