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

KEY_MOST = 64
VALUE_MOST = 1 << 20


@dataclass(frozen=True, slots=True)
class Record:
    """A record as it was found: `sequence` is greater than that of every record of its kind that was written before."""

    key: bytes
    value: bytes
    expiry: float
    sequence: int


class Records(ABC):
    """Durable records, shared by all workers and by the commands of the operator.

    It opens at its first use: after the fork of a worker, never before. Every method raises `StateUnavailable` when it
    could not do what it promises. Kinds are short words; keys have 1 to 64 bytes, values at most 1 MiB (ValueError).
    """

    @property
    def epoch(self) -> int:
        """Another number whenever what answers may not know all that was written before: whoever follows a kind begins anew
        then. It is as of the last call.
        """
        return 0

    @abstractmethod
    async def get(self, kind: str, key: bytes, now: float) -> bytes | None:
        """The record of this key, while it is there."""

    def glance(self, kind: str, key: bytes, now: float) -> bytes | None:  # noqa: ARG002  # the interface
        """The record of this key, where that can be told without waiting; None says nothing, `get` does. Never raises."""
        return None

    async def put(self, kind: str, key: bytes, value: bytes, expiry: float) -> None:
        """Write a record, whatever was there."""
        await self.update(kind, key, 0.0, lambda _: (value, expiry, None))

    @abstractmethod
    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        """One atomic step: reads, asks `change`, writes what it says. Nobody else's step comes between.

        `change` runs inside the transaction, perhaps in a thread, perhaps twice: no effects of its own. If it raises,
        nothing is written and the error passes through.
        """

    @abstractmethod
    async def remove(self, kind: str, key: bytes) -> bool:
        """Remove a record; was it there? Of several that remove it at once, one is told so."""

    @abstractmethod
    async def since(
        self, kind: str, sequence: int, now: float, most: int | None = None
    ) -> list[Record]:
        """The living records of a kind written after `sequence`, in the order of writing; all of them after 0.

        At most `most`: where there are as many, ask again after the last one. Removals are not told: what others must
        learn of is written, as a record that says so.
        """

    @abstractmethod
    async def latest(self, kind: str) -> int:
        """The sequence of the last write of this kind; 0 where there was none. Cheap: asked several times a second."""

    @abstractmethod
    async def count(self, kind: str) -> int:
        """How many records of this kind there are, expired ones that no sweep has met among them. Cheap."""

    @abstractmethod
    async def sweep(self, now: float, most: int) -> int:
        """Looks at `most` records, from where it last stopped, and removes those that expired; how many it removed."""

    @abstractmethod
    def close(self) -> None:
        """Lets go of everything it holds; the next use opens it again."""


def check_key(key: bytes) -> None:
    """Raises ValueError for a key that some backend could not hold."""
    if not 0 < len(key) <= KEY_MOST:
        raise ValueError(f"a key has 1 to {KEY_MOST} bytes, not {len(key)}")


def check_value(value: bytes) -> None:
    """Raises ValueError for a value over the bound."""
    if len(value) > VALUE_MOST:
        raise ValueError(f"a record has at most {VALUE_MOST} bytes, not {len(value)}")
