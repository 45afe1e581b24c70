"""Tending: all are looked after, one's failure is nobody else's, and what is no longer needed is closed."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest

from authproxy.authn.authenticator import Authenticator
from authproxy.server import tending as module
from authproxy.server.tending import Tending
from tests.authn.test_authenticator import Keyed


class Tended(Keyed):
    """Counts how often it was tended; may fail at it."""

    def __init__(self, *, fails: bool = False) -> None:
        super().__init__()
        self.fails = fails
        self.often = 0
        self.closed = False
        self.seen = asyncio.Event()

    async def tend(self, now: float) -> None:
        self.often += 1
        self.seen.set()
        if self.fails:
            raise RuntimeError("of its own")

    async def close(self) -> None:
        self.closed = True


class Sharing(Tended):
    """Hands on what it holds to any successor."""

    def goes_on_in(self, following: Authenticator | None) -> bool:
        return following is not None


@pytest.fixture
async def tending(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Tending]:
    monkeypatch.setattr(module, "TEND", 0.001)
    made = Tending()
    yield made
    await made.close()


async def test_all_are_tended(tending: Tending, caplog: pytest.LogCaptureFixture) -> None:
    """Also after one that failed, which is logged; again and again."""
    bad, good = Tended(fails=True), Tended()
    tending.follow({"bad": bad, "good": good})
    for _ in range(2):
        good.seen.clear()
        await good.seen.wait()
    assert bad.often >= good.often - 1 >= 1
    assert {record.levelno for record in caplog.records} == {logging.ERROR}


async def test_what_is_no_longer_needed_is_closed(tending: Tending) -> None:
    """What was taken over goes on; in the end all are closed."""
    first, kept, second = Tended(), Tended(), Tended()
    tending.follow({"a": first, "kept": kept})
    tending.follow({"a": second, "kept": kept})
    await second.seen.wait()
    assert (first.closed, kept.closed, second.closed) == (True, False, False)
    await tending.close()
    assert (kept.closed, second.closed) == (True, True)


async def test_an_end_without_a_beginning() -> None:
    """A worker that never served has nothing to tend."""
    await Tending().close()


async def test_what_hands_on_all_that_it_holds_is_not_closed(tending: Tending) -> None:
    """Its successor holds it now: to close it would be to take it away from there."""
    first, second = Sharing(), Sharing()
    tending.follow({"one": first})
    tending.follow({"one": second})
    await tending.close()
    assert (first.closed, second.closed) == (False, True)
