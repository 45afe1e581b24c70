"""The interface of what must outlive the machine's power: revocations, key sets, API keys, sessions.

Records of a `kind` under a key, each with the moment it ceases to exist. A write is on the disk when it returns. Nothing
here knows what a record means, and no clock is read: `now` (seconds since the epoch) is always given.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")
# The record as it is (None: not there) -> what to write (None: nothing), until when, and what `update` shall return.
Change = Callable[[bytes | None], tuple[bytes | None, float, T]]


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was found: `sequence` is greater than that of every record of its kind that was written before."""

    key: bytes
    value: bytes
    expiry: float
    sequence: int


class Records(ABC):
    """Durable records, shared by all workers and by the commands of the operator.

    Every method raises `StateUnavailable` when it could not do what it promises. Keys are at most 64 bytes.
    """

    @abstractmethod
    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        """The record of this key, while it is there."""

    @abstractmethod
    async def put(self, kind: str, key: bytes, value: bytes, expiry: float) -> None:
        """Write a record, whatever was there."""

    @abstractmethod
    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        """One atomic step: reads, asks `change`, writes what it says. Nobody else's step comes between.

        `change` runs inside the transaction, perhaps twice: no effects of its own.
        """

    @abstractmethod
    async def remove(self, kind: str, key: bytes) -> bool:
        """Remove a record; was it there?"""

    @abstractmethod
    async def since(self, kind: str, sequence: int, now: float) -> list[Record]:
        """The living records of a kind written after `sequence`, in the order of writing; all of them after 0.

        Removals are not told: what others must learn of is written, as a record that says so.
        """

    @abstractmethod
    async def latest(self, kind: str) -> int:
        """The sequence of the last write of this kind; 0 where there was none. Cheap: asked several times a second."""

    @abstractmethod
    async def sweep(self, now: float, most: int) -> int:
        """Looks at `most` records, from where it last stopped, and removes those that expired; how many it removed."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything it holds; the next use opens it again."""
