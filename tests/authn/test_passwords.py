"""Passwords: what is kept of them, what verifying costs, and that unknown users cost the same."""

import asyncio
import threading
import time

import pytest
from argon2 import PasswordHasher

from authproxy.authn import passwords
from authproxy.authn.passwords import (
    LANES,
    MEMORY_KIB,
    NICE,
    PASSES,
    PASSWORD_MOST,
    TODAY,
    Kind,
    PasswordChecks,
    _matches,
    hash_password,
    is_outdated,
    kinds_of,
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


@pytest.mark.parametrize(
    ("memory", "passes", "lanes", "outdated"),
    [
        (8192, 1, 1, True), (19_456, 1, 1, True), (19_455, 2, 4, True), (MEMORY_KIB, PASSES, LANES, False),
        (47_104, 1, 1, False), (65_536, 3, 4, False), (12_288, 4, 1, False),
    ],
)  # fmt: skip
def test_what_costs_less_than_today_is_outdated(
    memory: int, passes: int, lanes: int, outdated: bool
) -> None:
    """It is hashed anew at the next login; what costs more, by whichever parameters, is never made weaker."""
    assert is_outdated(Kind(memory, passes, lanes, 32).decoy()) is outdated


def test_the_kinds_of_hashes() -> None:
    """Each once, whatever the order of the users; today's where there are none."""
    weak, strong = Kind(8192, 1, 1, 32), Kind(65_536, 3, 4, 32)
    hashes = [hash_password(RIGHT), strong.decoy(), weak.decoy(), strong.decoy()]
    assert kinds_of(hashes) == kinds_of(reversed(hashes)) == (weak, TODAY, strong)
    assert kinds_of([]) == (TODAY,)
    assert Kind.of(PasswordHasher().hash(RIGHT)) == Kind(65_536, 3, 4, 32)


WEAK, MIDDLE = Kind(64, 1, 1, 32), Kind(128, 2, 1, 16)


def hashed_as(kind: Kind) -> str:
    """A hash of the right password."""
    return PasswordHasher(kind.passes, kind.memory, kind.lanes, kind.length).hash(RIGHT)


@pytest.mark.parametrize("kinds", [(TODAY,), (WEAK, MIDDLE), (WEAK, MIDDLE, TODAY)])
async def test_every_try_is_the_same_work(
    monkeypatch: pytest.MonkeyPatch, kinds: tuple[Kind, ...]
) -> None:
    """One hash of each kind, in one order: for nobody, for everybody, with the right password and with any other."""
    checks, work = PasswordChecks(), list[Kind]()

    def matches(hashed: str, given: bytes) -> bool:
        work.append(Kind.of(hashed))
        return _matches(hashed, given)

    monkeypatch.setattr(passwords, "_matches", matches)
    for kind in kinds:
        assert await checks.verify(hashed_as(kind), RIGHT, kinds)
        for wrong in ("wrong", "", "a" * 100_000):
            assert not await checks.verify(hashed_as(kind), wrong, kinds)
    assert not await checks.verify(None, RIGHT, kinds)
    assert work == list(kinds) * (4 * len(kinds) + 1)
    checks.close()


async def test_a_hash_of_no_kind_that_was_told_is_nobodys() -> None:
    """Whoever calls says what there is; nothing else is right."""
    checks = PasswordChecks()
    assert not await checks.verify(hashed_as(WEAK), RIGHT, (MIDDLE,))
    assert not await checks.verify(TODAY.decoy(), RIGHT)
    checks.close()


async def test_a_decoy_costs_what_a_hash_costs() -> None:
    """A real verification of the same kind, which no password passes."""
    checks, hashed = PasswordChecks(), hash_password(RIGHT)
    await checks.verify(None, "warm")

    async def took(which: str | None) -> float:
        times = []
        for _ in range(5):
            began = (
                time.process_time()
            )  # of CPU, all threads: others at work on the machine do not count
            await checks.verify(which, "wrong")
            times.append(time.process_time() - began)
        return min(times)

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
