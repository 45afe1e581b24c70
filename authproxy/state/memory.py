"""The state of a single process, in a dict: for one worker, for tests and for trying things out.

The same promises as any other store, durability and sharing excepted. Bounded: when every key lives, a new one is
refused with StateUnavailable, because what cannot be counted must not pass.
"""

from collections import deque
from collections.abc import Sequence

from authproxy.state.store import Decide, EmbeddedStore, Put, StateUnavailable, T

MOST_KEYS = 500_000
# Little, because while it is full every new key pays for it.
SWEEP_WHEN_FULL = 256


class MemoryStore(EmbeddedStore):
    """At most `most_keys` records in this process."""

    def __init__(self, most_keys: int = MOST_KEYS) -> None:
        self._most_keys = most_keys
        self._values: dict[bytes, tuple[float, bytes]] = {}
        # Every key of `_values` exactly once, the next to be swept at the left.
        self._walk: deque[bytes] = deque()

    def open(self) -> None:
        pass

    def transact(self, keys: Sequence[bytes], now: float, decide: Decide[T]) -> T:
        puts, outcome = decide(self.read(keys, now))
        self._make_room(puts, now)
        for key, record, expiry in puts:
            if key not in self._values:
                self._walk.append(key)
            self._values[key] = (expiry, record)
        return outcome

    def read(self, keys: Sequence[bytes], now: float) -> list[bytes | None]:
        found = map(self._values.get, keys)
        return [value[1] if value and value[0] > now else None for value in found]

    def sweep(self, now: float, most: int) -> int:
        removed = 0
        for _ in range(min(most, len(self._walk))):
            key = self._walk.popleft()
            if self._values[key][0] > now:
                self._walk.append(key)
            else:
                del self._values[key]
                removed += 1
        return removed

    def close(self) -> None:
        self._values.clear()
        self._walk.clear()

    def _make_room(self, puts: Sequence[Put], now: float) -> None:
        if self._lacks_room(puts):
            self.sweep(now, SWEEP_WHEN_FULL)
            if self._lacks_room(puts):
                raise StateUnavailable(f"the state in memory is full ({self._most_keys} keys)")

    def _lacks_room(self, puts: Sequence[Put]) -> bool:
        spare = self._most_keys - len(self._values)
        if len(puts) <= spare:
            return False
        return len({key for key, _, _ in puts if key not in self._values}) > spare
