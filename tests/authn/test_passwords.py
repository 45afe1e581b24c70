"""Passwords: what is kept of them, what verifying costs, and that unknown users cost the same."""

import asyncio
import threading
import time

import pytest
from argon2 import PasswordHasher

from authproxy.authn.passwords import (
    NICE,
    PASSWORD_MOST,
    PasswordChecks,
    hash_password,
    is_outdated,
)
from authproxy.model.errors import Refusal

RIGHT = "correct horse battery"


async def test_the_right_password_and_no_other() -> None:
    """Also not a longer one, an empty one, one that is no text, or nobody's hash."""
    checks, hashed = PasswordChecks(), hash_password(RIGHT)
    assert hashed.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert RIGHT not in hashed
    assert await checks.verify(hashed, RIGHT)
    for wrong in ("", RIGHT + " ", RIGHT.upper(), "\ud800", "a" * 100_000):
        assert not await checks.verify(hashed, wrong)
    assert not await checks.verify(None, RIGHT)
    assert not await checks.verify("$argon2id$broken", RIGHT)
    checks.close()


def test_a_password_has_a_size() -> None:
    """Empty and huge ones are no passwords."""
    for bad in ("", "a" * (PASSWORD_MOST + 1)):
        with pytest.raises(ValueError, match="bytes"):
            hash_password(bad)
    hash_password("a" * PASSWORD_MOST)


def test_other_parameters_are_outdated() -> None:
    """What was hashed with less is hashed anew at the next login."""
    assert not is_outdated(hash_password(RIGHT))
    assert is_outdated(PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(RIGHT))


async def test_nobodys_password_costs_what_somebodys_does() -> None:
    """A real verification of a real hash with the same parameters."""
    checks, hashed = PasswordChecks(), hash_password(RIGHT)
    await checks.verify(None, "warm")

    async def took(which: str | None) -> float:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            await checks.verify(which, "wrong")
            times.append(time.perf_counter() - began)
        return sorted(times)[2]

    assert 0.5 < await took(None) / await took(hashed) < 2
    checks.close()


async def test_too_many_at_once_are_told_to_wait() -> None:
    """The queue is bounded; who finds it full is refused and hashes nothing."""
    checks, hashed = PasswordChecks(waiting_most=2), hash_password(RIGHT)
    found = await asyncio.gather(
        *(checks.verify(hashed, RIGHT) for _ in range(5)), return_exceptions=True
    )
    assert found[:2] == [True, True]
    assert all(isinstance(one, Refusal) and one.code == "overloaded" for one in found[2:])
    assert await checks.verify(hashed, RIGHT)
    checks.close()


async def test_hashing_steps_back_behind_requests() -> None:
    """It runs in one thread, of lower priority than the loop's."""
    checks, seen = PasswordChecks(), list[tuple[str, int]]()

    def look() -> None:
        import os

        nice = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
        seen.append((threading.current_thread().name, nice))

    await asyncio.gather(checks._run(look), checks._run(look))
    assert len(set(seen)) == 1
    assert seen[0][1] >= NICE
    checks.close()
