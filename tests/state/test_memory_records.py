"""Durable records in memory: what they promise beyond the conformance suite."""

import pytest

from authproxy.state.memory_records import MemoryRecords
from authproxy.state.store import StateUnavailable

NOW = 1_700_000_000.0


async def test_full_refuses_and_forgets_nothing() -> None:
    """When all live a new one is refused; those that are there may be written again, and room comes with expiry."""
    records = MemoryRecords(most=3)
    for n in range(3):
        await records.put("k", b"%d" % n, b"x", NOW + 1)
    with pytest.raises(StateUnavailable, match="full"):
        await records.put("l", b"new", b"x", NOW + 1)
    await records.put("k", b"0", b"y", NOW + 9)
    assert len(await records.since("k", 0, NOW)) == 3
    await records.update("l", b"new", NOW + 1, lambda _: (b"x", NOW + 9, None))
    assert await records.get("l", b"new", NOW + 1) == b"x"


async def test_what_is_removed_takes_no_room_for_ever() -> None:
    """Writing and removing without end stays within the bound, and is never refused for what is gone."""
    records = MemoryRecords(most=10)
    for n in range(1_000):
        await records.put("k", b"%d" % n, b"x", NOW + 9)
        await records.remove("k", b"%d" % n)
    assert len(records._walk) <= 10
    assert records._walked == set(records._walk)


async def test_closing_forgets() -> None:
    """What is in memory is gone with it."""
    records = MemoryRecords()
    await records.put("k", b"a", b"x", NOW + 9)
    records.close()
    assert await records.get("k", b"a", NOW) is None
    assert await records.latest("k") == 0
