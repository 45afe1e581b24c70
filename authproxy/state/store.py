"""The interface of the state: small records under 16-byte keys, each with the moment it ceases to exist.

One step is one atomic transaction: read several, decide, write several; all or none. Every backend keeps the same
promises and passes the one suite in tests/state/test_store.py. Nothing here knows what a record means, and no
clock is read: `now` (seconds since the epoch) is always given.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeVar

T = TypeVar("T")
C = TypeVar("C")

# (key of 16 bytes, record, the moment from which the record is no longer there: seconds since the epoch)
Put = tuple[bytes, bytes, float]
# The records of the keys in their order (None: not there) -> what to write, and what `transact` shall return.
# It runs inside the transaction, perhaps twice (again after room was made): no effects of its own.
Decide = Callable[[list[bytes | None]], tuple[Sequence[Put], T]]
Weigh = Callable[[bytes | None, C, float], tuple[T, bytes | None, float]]


class StateUnavailable(Exception):  # noqa: N818  # the word of the refusal that it becomes
    """The store cannot answer or cannot write: what was asked did not happen, and nothing may pass as though it had."""


class Store(ABC):
    """Counters: cheap, synchronous (1 to 3 µs), allowed to be lost on a power cut.

    It opens at its first use or by `open()`, whichever comes first: after the fork of a worker, never before.
    Every method raises `StateUnavailable` when it could not do what it promises.
    """

    @abstractmethod
    def open(self) -> None:
        """Makes it ready; again when already open is nothing."""

    @abstractmethod
    def transact(self, keys: Sequence[bytes], now: float, decide: Decide[T]) -> T:
        """One atomic step: reads `keys`, asks `decide`, writes what it says, returns its outcome.

        Nobody else's step comes between. If `decide` raises, nothing is written and the error passes through.
        """

    def transact_one(self, key: bytes, now: float, weigh: Weigh[C, T], what: C) -> T:
        """`transact` for one key: asks `weigh(record, what, now)` for its outcome, the record to write (None: nothing)
        and when that ceases to exist.
        """

        def decide(records: list[bytes | None]) -> tuple[Sequence[Put], T]:
            outcome, record, expiry = weigh(records[0], what, now)
            return () if record is None else ((key, record, expiry),), outcome

        return self.transact((key,), now, decide)

    @abstractmethod
    def read(self, keys: Sequence[bytes], now: float) -> list[bytes | None]:
        """The records of the keys, in their order, as of one moment; waits for no writer."""

    @abstractmethod
    def sweep(self, now: float, most: int) -> int:
        """Looks at `most` keys, from where it last stopped, and removes those that expired; how many it removed.

        Costs the same however many keys live. A timer calls it; no request ever walks the keys.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything it holds; the next use opens it again."""
