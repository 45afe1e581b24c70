"""The upkeep of the durable records: what is new is learned, what has expired goes, and trouble is said once."""

import asyncio
import logging
import time
from contextlib import suppress

import pytest

from authproxy.authn.revocation import Revocations, revoke_credential
from authproxy.server.upkeep import TURN, Upkeep
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.store import StateUnavailable


class Away(MemoryRecords):
    """Records that can be made to fail."""

    away = False

    async def latest(self, kind: str) -> int:
        if self.away:
            raise StateUnavailable("the disk is away")
        return await super().latest(kind)


def upkeep(records: MemoryRecords) -> tuple[Upkeep, Revocations, list[int]]:
    grown: list[int] = []
    revocations = Revocations(records)
    return Upkeep(records, revocations, lambda: grown.append(len(revocations))), revocations, grown


async def test_a_turn_learns_and_removes() -> None:
    """Who waits for the list is told when it grew, and only then; what has expired leaves the records."""
    records = MemoryRecords()
    keeping, revocations, grown = upkeep(records)
    now = time.time()
    await keeping.turn()
    assert (grown, keeping.unready) == ([], None)
    await revoke_credential(records, "tokens", "id", now + 60, now)
    await records.put("other", b"old", b"x", now - 1)
    await keeping.turn()
    await keeping.turn()
    assert grown == [1]
    assert await records.count("other") == 0
    assert len(revocations) == 1


async def test_it_goes_on_by_itself() -> None:
    """What is revoked is known after a few turns, without anybody asking."""
    records = MemoryRecords()
    keeping, revocations, _ = upkeep(records)
    running = asyncio.ensure_future(keeping.run())
    await revoke_credential(records, "tokens", "id", time.time() + 60, time.time())
    async with asyncio.timeout(TURN * 4):
        while not len(revocations):  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running


async def test_trouble_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the length of it, there is one line when it begins and one when it is over; what it means is in it."""
    records = Away()
    keeping, _, _ = upkeep(records)
    records.away = True
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            await keeping.turn()
        assert keeping.unready == "the revocation list cannot be read"
        records.away = False
        await keeping.turn()
        assert keeping.unready is None
        records.away = True
        await keeping.turn()
        assert keeping.unready is None
    begin, end, again = [record.getMessage() for record in caplog.records]
    assert "lets no identity in: the disk is away" in begin
    assert "again" in end
    assert "goes on as it was" in again


async def test_nothing_ends_it(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """An error that nobody foresaw is logged, and the next turn comes."""
    records = MemoryRecords()
    keeping, _, _ = upkeep(records)

    async def broken(_now: float, _most: int) -> int:
        raise KeyError("broken")

    with monkeypatch.context() as patched:
        patched.setattr(records, "sweep", broken)
        await keeping.turn()
    assert "a periodic task failed" in caplog.text
    await keeping.turn()
