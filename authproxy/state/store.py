"""The interface of the state: counters, and what may be used once. Every backend passes the suites in tests/state/test_store.py
and tests/rate_limits/test_ledger.py.

An embedded store keeps small records under 16-byte keys, each with the moment it ceases to exist; one step is one atomic
transaction: read several, decide, write several; all or none. Nothing here knows what a record means, and no clock is
read: `now` (seconds since the epoch) is always given. In a Redis a step is Lua, and the time is Redis's own.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from struct import Struct
from typing import TypeVar

from authproxy.model.errors import valued

T = TypeVar("T")
C = TypeVar("C")

# (key of 16 bytes, record, the moment from which the record is no longer there: seconds since the epoch)
Put = tuple[bytes, bytes, float]
# The records of the keys in their order (None: not there) -> what to write, and what `transact` shall return.
# It runs inside the transaction, perhaps twice (again after room was made): no effects of its own.
Decide = Callable[[list[bytes | None]], tuple[Sequence[Put], T]]
Weigh = Callable[[bytes | None, C, float], tuple[T, bytes | None, float]]
# What `transact_one` is given: a key, now, who weighs, and what.
One = tuple[bytes, float, Weigh[C, T], C]
NUMBER = Struct("<Q")


class StateUnavailable(Exception):  # noqa: N818  # the word of the refusal that it becomes
    """The store cannot answer or cannot write: what was asked did not happen, and nothing may pass as though it had."""


class Store(ABC):
    """Counters and what may be used once: cheap, allowed to be lost on a power cut.

    It opens at its first use or by `open()`, whichever comes first: after the fork of a worker, never before.
    Every method raises `StateUnavailable` when it could not do what it promises.
    """

    @abstractmethod
    def open(self) -> None:
        """Makes it ready; again when already open is nothing."""

    @abstractmethod
    async def advance(self, key: bytes, number: int, expiry: float, now: float) -> bool:
        """Note `number` (≥ 0) under `key` until `expiry`, where it is greater than the one that is noted; was it? Of several
        at once with the same number, one is told so: what has a number is used once.
        """

    @abstractmethod
    def sweep(self, now: float, most: int) -> int:
        """Looks at `most` keys, from where it last stopped, and removes those that expired; how many it removed.

        Costs the same however many keys live. A timer calls it; no request ever walks the keys.
        """

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything it holds; the next use opens it again."""


class EmbeddedStore(Store):
    """A store in this machine: synchronous, 1 to 3 µs a step."""

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

    def transact_each(self, wanted: Sequence[One[C, T]]) -> list[T | StateUnavailable]:
        """`transact_one` of each, in their order, for what comes together: a store may make few transactions of them.

        Each is a step of its own; where one could not be done the error is in its place, and of the others nothing is lost.
        """
        done: list[T | StateUnavailable] = []
        for key, now, weigh, what in wanted:
            try:
                done.append(self.transact_one(key, now, weigh, what))
            except StateUnavailable as error:
                done.append(valued(error))
        return done

    @abstractmethod
    def read(self, keys: Sequence[bytes], now: float) -> list[bytes | None]:
        """The records of the keys, in their order, as of one moment; waits for no writer."""

    async def advance(self, key: bytes, number: int, expiry: float, now: float) -> bool:
        return self.transact_one(key, now, _advance, (number, expiry))


def _advance(
    record: bytes | None, what: tuple[int, float], _now: float
) -> tuple[bool, bytes | None, float]:
    number, expiry = what
    if record is not None and number <= NUMBER.unpack(record)[0]:
        return False, None, 0.0
    return True, NUMBER.pack(number), expiry
