"""One refresh a session, whoever needs it: no refresh token is ever spent twice, and none is lost."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest

from authproxy.authn import refreshing as module
from authproxy.authn.provider import ProviderRefused
from authproxy.authn.refreshing import GRACE, LEASE, PAUSE, Refreshing, until
from authproxy.authn.sessions import Session, Sessions
from authproxy.fetch import FetchError
from authproxy.model.errors import Refusal
from authproxy.state.memory_records import MemoryRecords

NOW = 1_800_000_000.0


class Clock:
    """A clock that tests set."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


class Tokens:
    """The provider's side: every refresh token is good once, and each use is noted."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.spent: list[str] = []
        self.fails: Exception | None = None
        self.answering = asyncio.Event()
        self.answering.set()

    async def spend(self, session: Session) -> Mapping[str, Any]:
        """New data for the session."""
        self.spent.append(session.data["refresh"])
        await self.answering.wait()
        if self.fails is not None:
            raise self.fails
        number = int(session.data["refresh"]) + 1
        return {**session.data, "refresh": str(number), "until": self.clock.now + 60}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def tokens(clock: Clock) -> Tokens:
    return Tokens(clock)


@pytest.fixture
def records() -> MemoryRecords:
    return MemoryRecords()


def worker(records: MemoryRecords, tokens: Tokens, clock: Clock) -> Refreshing:
    """One of several workers on the same records."""
    return Refreshing("sso", Sessions(records, 1800.0, 43_200.0), tokens.spend, clock)


async def begin(records: MemoryRecords, **data: Any) -> Session:
    sessions = Sessions(records, 1800.0, 43_200.0)
    return (await sessions.create("sso", "ann", {"refresh": "1", "until": NOW, **data}, NOW))[1]


async def kept(records: MemoryRecords, session: Session, now: float = NOW) -> Session | None:
    _, known = await Sessions(records, 1800.0, 43_200.0).change(
        session.key, now, lambda _: (None, None)
    )
    return known


async def refused(one: Refreshing, session: Session) -> str:
    with pytest.raises(Refusal) as refusal:
        await one.confirmed(session)
    assert refusal.value.code == "session_expired"
    return refusal.value.reason


async def test_all_that_need_it_at_once_share_one_refresh(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """In one worker and over four: one spends the token, and everybody goes on with what came of it."""
    session = await begin(records)
    workers = [worker(records, tokens, clock) for _ in range(4)]
    tokens.answering.clear()
    waiting = [asyncio.ensure_future(one.confirmed(session)) for one in workers for _ in range(25)]
    await asyncio.sleep(0.1)
    assert (len(tokens.spent), any(task.done() for task in waiting)) == (1, False)
    tokens.answering.set()
    found = await asyncio.gather(*waiting)
    assert {one.data["refresh"] for one in found} == {"2"}
    assert (tokens.spent, until(found[0])) == (["1"], NOW + 60)
    assert "lease" not in found[0].data


async def test_each_token_is_spent_once_over_many_rounds(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """Whoever is first each time: the tokens follow one another."""
    session = await begin(records)
    workers = [worker(records, tokens, clock) for _ in range(4)]
    for _ in range(20):
        clock.now += 61
        await asyncio.gather(*(one.confirmed(session) for one in workers))
    assert tokens.spent == [str(number) for number in range(1, 21)]


async def test_a_client_that_leaves_costs_nobody_the_token(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """What was spent for it is kept for the next request."""
    session, one = await begin(records), worker(records, tokens, clock)
    tokens.answering.clear()
    asking = asyncio.ensure_future(one.confirmed(session))
    await asyncio.sleep(0.02)
    asking.cancel()
    tokens.answering.set()
    await one.close()
    known = await kept(records, session)
    assert known is not None
    assert known.data["refresh"] == "2"


@pytest.mark.parametrize("error", [ProviderRefused("invalid_grant"), Refusal("token_invalid", "x")])
async def test_a_refusal_ends_the_session(
    records: MemoryRecords, tokens: Tokens, clock: Clock, error: Exception
) -> None:
    """At once, for every worker, and the token is never tried again."""
    session, tokens.fails = await begin(records), error
    assert await refused(worker(records, tokens, clock), session) == "refresh"
    tokens.fails = None
    assert await refused(worker(records, tokens, clock), session) == "refresh"
    assert (await kept(records, session), tokens.spent) == (None, ["1"])


async def test_a_provider_that_is_away_is_waited_for(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """The session goes on for a while, with a try now and then; it is refused afterwards, and good again with the provider."""
    session, one = await begin(records), worker(records, tokens, clock)
    tokens.fails = FetchError("no answer")
    for _ in range(3):
        session = await one.confirmed(session)
    assert tokens.spent == ["1"]
    clock.now += PAUSE
    session = await one.confirmed(session)
    assert tokens.spent == ["1", "1"]
    clock.now = NOW + GRACE
    assert await refused(one, session) == "provider"
    tokens.fails = None
    clock.now += PAUSE
    assert (await one.confirmed(session)).data["refresh"] == "2"


async def test_a_worker_that_dies_leaves_no_token_to_be_spent_again(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """Nobody can say whether it was spent: the session ends with its lease, and is asked for anew."""
    session = await begin(records, lease=NOW + LEASE, turn=1)
    clock.now = NOW + LEASE
    assert await refused(worker(records, tokens, clock), session) == "refresh"
    assert (tokens.spent, await kept(records, session)) == ([], None)


async def test_a_worker_that_was_asleep_writes_nothing(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """What it brings is of a turn that is no longer its own."""
    session, one = await begin(records), worker(records, tokens, clock)
    tokens.answering.clear()
    asking = asyncio.ensure_future(one.confirmed(session))
    await asyncio.sleep(0.02)
    later = {"refresh": "9", "until": NOW + 600, "turn": 2}
    await Sessions(records, 1800.0, 43_200.0).change(session.key, NOW, lambda _: (later, None))
    tokens.answering.set()
    assert (await asking).data == later


async def test_a_session_that_ends_meanwhile_stays_so(
    records: MemoryRecords, tokens: Tokens, clock: Clock
) -> None:
    """A logout during a refresh is no less a logout."""
    session, one = await begin(records), worker(records, tokens, clock)
    tokens.answering.clear()
    asking = asyncio.ensure_future(one.confirmed(session))
    await asyncio.sleep(0.02)
    await Sessions(records, 1800.0, 43_200.0).end(session, NOW)
    tokens.answering.set()
    with pytest.raises(Refusal):
        await asking
    assert await kept(records, session) is None


async def test_a_session_without_a_time_of_its_own_is_never_asked_about() -> None:
    """It lives by the timeouts of all sessions."""
    records = MemoryRecords()
    session = await begin(records, until=None)
    assert until(session) == float("inf")


async def test_a_worker_that_ends_waits_for_a_refresh_and_not_forever(
    records: MemoryRecords, tokens: Tokens, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that is stuck is given up; its session ends with the lease."""
    monkeypatch.setattr(module, "PATIENCE", 0.1)
    session, one = await begin(records), worker(records, tokens, clock)
    tokens.answering.clear()
    asking = asyncio.ensure_future(one.confirmed(session))
    await asyncio.sleep(0.02)
    await one.close()
    with pytest.raises(asyncio.CancelledError):
        await asking
    clock.now += LEASE
    assert await refused(worker(records, tokens, clock), session) == "refresh"
