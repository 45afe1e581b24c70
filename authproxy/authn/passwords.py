"""Passwords as argon2id hashes (RFC 9106), verified by few threads of low priority: many logins at once wait for one
another and not the requests beside them.

An unknown user costs what a known one costs, whatever the parameters of their hashes are: every try is a real verification
of one hash of each kind there is, of which at most one is the user's.
"""

import asyncio
import os
import threading
from base64 import b64encode
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher, extract_parameters
from argon2.exceptions import InvalidHashError, VerificationError

from authproxy.model.errors import Refusal

# OWASP's parameters for argon2id: some 16 ms and 19 MiB a try.
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1
PASSWORD_MOST = 1024  # bytes; a longer one is none (facts 101)
THREADS = 1
WAITING_MOST = 256
NICE = 10

T = TypeVar("T")
_HASHER = PasswordHasher(time_cost=PASSES, memory_cost=MEMORY_KIB, parallelism=LANES)


def hash_password(password: str) -> str:
    """The hash to keep, in its standard spelling with its parameters. Takes some 16 ms.

    Raises:
        ValueError: the password is empty or over 1,024 bytes.
    """
    if not 0 < len(password.encode("utf-8", "surrogatepass")) <= PASSWORD_MOST:
        raise ValueError(f"a password has 1 to {PASSWORD_MOST} bytes")
    return _HASHER.hash(password.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True, order=True, slots=True)
class Kind:
    """What a hash costs: memory in KiB, passes over it, lanes (RFC 9106 section 3.1); and how long it is, in bytes."""

    memory: int
    passes: int
    lanes: int
    length: int

    @classmethod
    def of(cls, hashed: str) -> "Kind":
        """The kind of a hash.

        Raises:
            InvalidHashError: it is none.
        """
        found = extract_parameters(hashed)
        return cls(found.memory_cost, found.time_cost, found.parallelism, found.hash_len)

    def decoy(self) -> str:
        """A hash of this kind that is nobody's: no password has it, and to find that out costs what it costs with a real one."""
        salt, tag = (
            b64encode(os.urandom(length)).decode().rstrip("=")
            for length in (_HASHER.salt_len, self.length)
        )
        return f"$argon2id$v=19$m={self.memory},t={self.passes},p={self.lanes}${salt}${tag}"


TODAY = Kind(MEMORY_KIB, PASSES, LANES, _HASHER.hash_len)


def kinds_of(hashes: Iterable[str]) -> tuple[Kind, ...]:
    """The kinds of some hashes, each once and in one order; today's where there are none."""
    return tuple(sorted({Kind.of(one) for one in hashes})) or (TODAY,)


def is_outdated(hashed: str) -> bool:
    """Does guessing its password cost less than with a hash of today: less memory, taken over all passes?

    One that costs more is none: nothing is gained by a weaker hash.
    """
    kind = Kind.of(hashed)
    return kind.memory * kind.passes < MEMORY_KIB * PASSES


class PasswordChecks:
    """Verifies passwords in threads of its own; at most `waiting_most` at a time wait for one."""

    def __init__(self, waiting_most: int = WAITING_MOST) -> None:
        self._waiting_most = waiting_most
        self._waiting = 0
        self._threads: ThreadPoolExecutor | None = None

    async def verify(
        self, hashed: str | None, password: str, kinds: Sequence[Kind] = (TODAY,)
    ) -> bool:
        """Is this the password of the hash, which is of one of these kinds? None as the hash is nobody's: False, after
        the very same work, which is one hash of each kind.

        Raises:
            Refusal: `overloaded`: too many wait already.
        """
        return await self._run(_verify, hashed, password, kinds)

    async def hash(self, password: str) -> str:
        """`hash_password`, in a thread.

        Raises:
            Refusal: `overloaded`.
            ValueError: the password is empty or over 1,024 bytes.
        """
        return await self._run(hash_password, password)

    async def _run(self, work: Callable[..., T], *arguments: object) -> T:
        if self._waiting >= self._waiting_most:
            raise Refusal("overloaded", "logins", headers=(("Retry-After", "5"),))
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "passwords", _step_back)
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, work, *arguments)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """Let go of the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _verify(hashed: str | None, password: str, kinds: Sequence[Kind]) -> bool:
    given = password.encode("utf-8", "surrogatepass")[: PASSWORD_MOST + 1]
    own = None
    if hashed is not None:
        with suppress(InvalidHashError):
            own = Kind.of(hashed)
    right = False
    # Whoever the user is, and whatever comes of it: one of each kind, in this order.
    for kind in kinds:
        mine = hashed is not None and kind == own
        matches = _matches(hashed if hashed is not None and mine else kind.decoy(), given)
        right = right or (mine and matches)
    return right and 0 < len(given) <= PASSWORD_MOST


def _matches(hashed: str, given: bytes) -> bool:
    try:
        return _HASHER.verify(hashed, given)
    except (VerificationError, InvalidHashError):
        return False


def _step_back() -> None:
    """On Linux a priority is a thread's own: what hashes is served after what answers requests."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
