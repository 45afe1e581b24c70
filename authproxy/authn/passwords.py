"""Passwords as argon2id hashes (RFC 9106), verified by few threads of low priority: many logins at once wait for one
another and not the requests beside them.

An unknown user costs what a known one costs: a real verification of a real hash.
"""

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TypeVar

from argon2 import PasswordHasher
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


def is_outdated(hashed: str) -> bool:
    """Was it made with other parameters than those of today?"""
    return _HASHER.check_needs_rehash(hashed)


class PasswordChecks:
    """Verifies passwords in threads of its own; at most `waiting_most` at a time wait for one."""

    def __init__(self, waiting_most: int = WAITING_MOST) -> None:
        self._waiting_most = waiting_most
        self._waiting = 0
        self._threads: ThreadPoolExecutor | None = None
        self._nobodys = ""

    async def verify(self, hashed: str | None, password: str) -> bool:
        """Is this the password of the hash? None as the hash is nobody's: False, after as much work.

        Raises:
            Refusal: `overloaded`: too many wait already.
        """
        return await self._run(self._verify, hashed, password)

    async def hash(self, password: str) -> str:
        """`hash_password`, in a thread.

        Raises:
            Refusal: `overloaded`.
            ValueError: the password is empty or over 1,024 bytes.
        """
        return await self._run(hash_password, password)

    async def _run(self, work: Callable[..., T], *arguments: str | None) -> T:
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

    def _verify(self, hashed: str | None, password: str) -> bool:
        given = password.encode("utf-8", "surrogatepass")[: PASSWORD_MOST + 1]
        try:
            _HASHER.verify(hashed or self._nobody(), given)
        except (VerificationError, InvalidHashError):
            return False
        return hashed is not None and 0 < len(given) <= PASSWORD_MOST

    def _nobody(self) -> str:
        if not self._nobodys:
            self._nobodys = _HASHER.hash(os.urandom(32))
        return self._nobodys

    def close(self) -> None:
        """Let go of the threads."""
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)
            self._threads = None


def _step_back() -> None:
    """On Linux a priority is a thread's own: what hashes is served after what answers requests."""
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
