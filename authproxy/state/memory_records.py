"""Durable records of a single process, in a dict: for one worker, for tests and for trying things out.

The same promises as any other records, durability and sharing excepted. Bounded: when all of them live, a new one is
refused with StateUnavailable, never an old one forgotten.
"""

from collections import deque
from typing import TypeVar

from authproxy.state.records import Change, Record, Records, check_key, check_value
from authproxy.state.store import StateUnavailable

T = TypeVar("T")

MOST_RECORDS = 200_000
# Little, because while it is full every new record pays for it.
SWEEP_WHEN_FULL = 256


class MemoryRecords(Records):
    """At most `most` records in this process; they are gone with it, and with `close`."""

    def __init__(self, most: int = MOST_RECORDS) -> None:
        self._most = most
        # Of each kind, in the order of writing: a dict keeps the order in which its keys came.
        self._kinds: dict[str, dict[bytes, Record]] = {}
        self._sequences: dict[str, int] = {}
        # What is or was there, each once, the next to be swept at the left: removed ones go when the sweep comes by.
        self._walk: deque[tuple[str, bytes]] = deque()
        self._walked: set[tuple[str, bytes]] = set()

    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        return self._living(kind, key, now)

    def glance(self, kind: str, key: bytes, now: float) -> bytes | None:
        return self._living(kind, key, now)

    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        # Nothing is awaited, so nobody comes between.
        check_key(key)
        value, expiry, outcome = change(self._living(kind, key, now))
        if value is not None:
            check_value(value)
            self._make_room(kind, key, now)
            self._write(kind, key, value, expiry)
        return outcome

    async def remove(self, kind: str, key: bytes) -> bool:
        return self._kinds.get(kind, {}).pop(key, None) is not None

    async def since(
        self, kind: str, sequence: int, now: float, most: int | None = None
    ) -> list[Record]:
        found: list[Record] = []
        for record in reversed(self._kinds.get(kind, {}).values()):
            if record.sequence <= sequence:
                break
            if record.expiry > now:
                found.append(record)
        return found[::-1][:most]

    async def latest(self, kind: str) -> int:
        return self._sequences.get(kind, 0)

    async def count(self, kind: str) -> int:
        return len(self._kinds.get(kind, ()))

    async def sweep(self, now: float, most: int) -> int:
        return self._sweep(now, most)

    def close(self) -> None:
        for held in (self._kinds, self._sequences, self._walk, self._walked):
            held.clear()

    def _living(self, kind: str, key: bytes, now: float) -> bytes | None:
        record = self._kinds.get(kind, {}).get(key)
        return record.value if record is not None and record.expiry > now else None

    def _write(self, kind: str, key: bytes, value: bytes, expiry: float) -> None:
        records = self._kinds.setdefault(kind, {})
        records.pop(key, None)  # so that it comes last
        sequence = self._sequences[kind] = self._sequences.get(kind, 0) + 1
        records[key] = Record(key, value, expiry, sequence)
        if (kind, key) not in self._walked:
            self._walked.add((kind, key))
            self._walk.append((kind, key))

    def _sweep(self, now: float, most: int) -> int:
        removed = 0
        for _ in range(min(most, len(self._walk))):
            kind, key = place = self._walk.popleft()
            record = self._kinds[kind].get(key)
            if record is not None and record.expiry > now:
                self._walk.append(place)
                continue
            self._walked.remove(place)
            if record is not None:
                del self._kinds[kind][key]
                removed += 1
        return removed

    def _make_room(self, kind: str, key: bytes, now: float) -> None:
        if (kind, key) in self._walked or len(self._walk) < self._most:
            return
        self._sweep(now, SWEEP_WHEN_FULL)
        if len(self._walk) >= self._most:
            raise StateUnavailable(f"the records in memory are full ({self._most})")
