"""Sessions: who finds one, when it is over, and that what is over never comes back."""

import asyncio
import gc
from typing import Any

import pytest

from authproxy.authn.sessions import EACH_MOST, KIND, REMEMBERED, Session, Sessions, key_of
from authproxy.model.errors import Refusal
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.store import StateUnavailable

NOW = 1_800_000_000.0
IDLE, ABSOLUTE = 1800.0, 43_200.0


@pytest.fixture
def records() -> MemoryRecords:
    return MemoryRecords()


@pytest.fixture
def sessions(records: MemoryRecords) -> Sessions:
    return Sessions(records, IDLE, ABSOLUTE)


async def begin(
    sessions: Sessions, subject: str = "ann", now: float = NOW, **data: Any
) -> tuple[str, Session]:
    return await sessions.create("staff", subject, data, now)


async def over(sessions: Sessions, session_id: str, now: float) -> str:
    with pytest.raises(Refusal) as refused:
        await sessions.find(session_id, now)
    assert refused.value.code == "session_expired"
    return refused.value.reason


async def test_a_session_is_found_by_its_id_and_by_nothing_else(
    sessions: Sessions, records: MemoryRecords
) -> None:
    """Ids have 256 bits and are kept as a hash; what is kept is no id."""
    session_id, session = await begin(sessions, a=1)
    assert await sessions.find(session_id, NOW) == session
    assert (session.authenticator, session.subject, session.data) == ("staff", "ann", {"a": 1})
    assert len(session_id) == 43
    assert session_id != (await begin(sessions))[0]
    for other in ("", session_id[:-1], session_id.swapcase(), session.key.hex(), "\ud800"):
        assert await sessions.find(other, NOW) is None
    kept = [(r.key, r.value) for r in await records.since(KIND, 0, NOW)]
    assert session_id.encode() not in b"".join(key + value for key, value in kept)


async def test_a_glance_finds_what_lives_and_nothing_else(
    sessions: Sessions, records: MemoryRecords
) -> None:
    """By any of its ids, its use noted; what is over, and what another worker ended, is for `find` to speak of."""
    session_id, session = await begin(sessions)
    for one in (session_id, await sessions.admit(session)):
        assert sessions.glance(one, NOW) == session
        assert sessions.glance(one, NOW + IDLE) is None
        assert sessions.glance(one[:-1], NOW) is None
    assert sessions.glance(session_id, NOW + IDLE - 1) == session
    await sessions.close()
    assert sessions.glance(session_id, NOW + IDLE) is not None
    await Sessions(records, IDLE, ABSOLUTE).end(session, NOW)
    assert sessions.glance(session_id, NOW) is None


async def test_it_is_over_when_it_was_idle_for_too_long(sessions: Sessions) -> None:
    """Use keeps it alive; the note of the use is written beside the request."""
    session_id, _ = await begin(sessions)
    assert await sessions.find(session_id, NOW + IDLE - 1) is not None
    await sessions.close()
    assert await sessions.find(session_id, NOW + 2 * IDLE - 2) is not None
    await sessions.close()
    assert await over(sessions, session_id, NOW + 3 * IDLE) == "idle"


async def test_it_is_over_when_it_is_too_old(sessions: Sessions) -> None:
    """However much it is used; and it is known as over for a day."""
    session_id, _ = await begin(sessions)
    now = NOW
    while now < NOW + ABSOLUTE - IDLE:
        now += IDLE / 2
        assert await sessions.find(session_id, now) is not None
        await sessions.close()
    assert await over(sessions, session_id, NOW + ABSOLUTE) == "absolute"
    assert await sessions.find(session_id, NOW + ABSOLUTE + REMEMBERED + 1) is None


async def test_one_that_was_ended_stays_so(sessions: Sessions) -> None:
    """Also where a request that began before is still noting its use (no resurrection)."""
    session_id, session = await begin(sessions)
    await sessions.find(session_id, NOW + IDLE / 2)  # its use is being noted
    assert await sessions.end(session, NOW)
    await sessions.close()
    assert await sessions.find(session_id, NOW + IDLE / 2) is None
    assert not await sessions.end(session, NOW)


async def test_an_end_in_one_worker_is_seen_by_another(records: MemoryRecords) -> None:
    """What was parsed before is not believed without looking."""
    one, other = Sessions(records, IDLE, ABSOLUTE), Sessions(records, IDLE, ABSOLUTE)
    session_id, session = await begin(one)
    assert await other.find(session_id, NOW) == session
    await one.end(session, NOW)
    assert await other.find(session_id, NOW) is None


async def test_the_sessions_of_somebody(sessions: Sessions) -> None:
    """Theirs and nobody else's, the newest first, without those that are over."""
    first = (await begin(sessions))[1]
    second = (await begin(sessions, now=NOW + 10))[1]
    await begin(sessions, "bob")
    await sessions.create("other", "ann", {}, NOW)
    assert await sessions.of("staff", "ann", NOW + 20) == [second, first]
    assert await sessions.of("staff", "ann", NOW + IDLE + 5) == [second]
    assert len(await sessions.every(NOW + 20)) == 4
    await sessions.end(second, NOW)
    assert await sessions.of("staff", "ann", NOW + 20) == [first]


async def test_nobody_has_sessions_without_bound(sessions: Sessions) -> None:
    """The oldest end when there are more than a hundred."""
    ids = [(await begin(sessions, now=NOW + n))[0] for n in range(EACH_MOST + 3)]
    assert [n for n, one in enumerate(ids) if await sessions.find(one, NOW + 200) is None] == [
        0,
        1,
        2,
    ]


async def test_sessions_that_ended_push_no_living_one_out(sessions: Sessions) -> None:
    """Whoever logs in and out a hundred times keeps the session of another device, and ends it from where they are."""
    kept_id, kept = await begin(sessions)
    for n in range(2 * EACH_MOST):
        await sessions.end((await begin(sessions, now=NOW + n))[1], NOW + n)
    assert await sessions.find(kept_id, NOW + 300) == kept
    assert await sessions.of("staff", "ann", NOW + 300) == [kept]


async def test_the_same_holds_for_those_of_a_mark(sessions: Sessions) -> None:
    """Back-channel logout finds a living session however many of the same person have ended."""
    _, kept = await sessions.create("staff", "ann", {}, NOW, ["sub ann"])
    for n in range(2 * EACH_MOST):
        _, one = await sessions.create("staff", "ann", {}, NOW + n, ["sub ann"])
        await sessions.end(one, NOW + n)
    assert await sessions.marked("staff", "sub ann", NOW + 300) == [kept]


async def test_those_that_are_over_leave_before_the_living(sessions: Sessions) -> None:
    """However old the living one is; and those that are over are still known as such while there is room."""
    living_id, _ = await begin(sessions)
    over_ids = [(await begin(sessions))[0] for _ in range(EACH_MOST - 1)]
    later = NOW + IDLE - 1
    await sessions.find(living_id, later)
    await sessions.close()
    last = NOW + IDLE + 1
    new_id, _ = await begin(sessions, now=last)
    assert await sessions.find(living_id, last) is not None
    assert await sessions.find(new_id, last) is not None
    assert await sessions.find(over_ids[0], last) is None
    assert [await over(sessions, one, last) for one in over_ids[1:3]] == ["idle", "idle"]


async def test_many_logins_at_once_stay_within_the_bound(sessions: Sessions) -> None:
    """However they come between one another, as many live as may, and each is listed."""
    await asyncio.gather(*(begin(sessions) for _ in range(EACH_MOST + 20)))
    living = await sessions.every(NOW)
    assert len(living) == EACH_MOST
    listed = await sessions.of("staff", "ann", NOW)
    assert {one.key for one in listed} == {one.key for one in living}


async def test_use_is_noted_now_and_then_only(sessions: Sessions, records: MemoryRecords) -> None:
    """Ten times in an idle timeout at most, whatever the number of requests."""
    session_id, _ = await begin(sessions)
    before = await records.latest(KIND)
    for second in range(int(IDLE)):
        await sessions.find(session_id, NOW + second)
        await asyncio.sleep(0)
    await sessions.close()
    assert 5 <= await records.latest(KIND) - before <= 10


def test_keys_are_hashes() -> None:
    """32 bytes, also of what is no text."""
    assert len(key_of("\ud800")) == 32


async def test_a_session_is_found_by_its_marks(sessions: Sessions) -> None:
    """By each of them, and only where its own authenticator made it; a mark is no subject."""
    _, one = await sessions.create("sso", "ann", {}, NOW, ("sid 1", "sub a"))
    _, two = await sessions.create("sso", "ann", {}, NOW + 1, ("sid 2", "sub a"))
    await sessions.create("other", "ann", {}, NOW, ("sid 1",))
    assert await sessions.marked("sso", "sid 1", NOW + 2) == [one]
    assert await sessions.marked("sso", "sub a", NOW + 2) == [two, one]
    assert await sessions.marked("sso", "ann", NOW + 2) == []
    assert await sessions.of("sso", "sub a", NOW + 2) == []
    await sessions.end(one, NOW)
    assert await sessions.marked("sso", "sub a", NOW + 2) == [two]


async def test_a_change_is_one_step(sessions: Sessions) -> None:
    """Of twenty at once each sees what the one before it did; what is over is not made anew; nothing said, nothing done."""
    session_id, session = await begin(sessions, count=0)

    def add(known: Session | None) -> tuple[dict[str, Any] | None, bool]:
        return (None, False) if known is None else ({"count": known.data["count"] + 1}, True)

    await asyncio.gather(*(sessions.change(session.key, NOW, add) for _ in range(20)))
    found = await sessions.find(session_id, NOW)
    assert found is not None
    assert found.data == {"count": 20}
    assert (found.created, found.seen, found.subject) == (NOW, NOW, "ann")
    assert await sessions.change(session.key, NOW, lambda _: (None, "x")) == ("x", found)
    await sessions.end(session, NOW)
    assert await sessions.change(session.key, NOW, add) == (False, None)
    assert await sessions.find(session_id, NOW) is None


async def test_another_id_leads_to_the_same_session() -> None:
    """What other hosts know it by: one life, one end, and nothing more in the list of the operator."""
    sessions = Sessions(MemoryRecords(), 60.0, 600.0)
    first, session = await sessions.create("staff", "ann", {}, NOW)
    other = await sessions.admit(session)
    assert other != first
    assert await sessions.find(other, NOW + 10) == await sessions.find(first, NOW + 10)
    assert await sessions.living(session.key, NOW) is not None
    assert len(await sessions.every(NOW)) == 1
    await sessions.close()
    with pytest.raises(Refusal, match="session_expired"):
        await sessions.find(other, NOW + 500)
    await sessions.end(session, NOW)
    assert await sessions.find(other, NOW) is None
    assert await sessions.living(session.key, NOW) is None


async def test_a_use_that_cannot_be_noted_is_noted_by_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The records went away between a look and its note: the request goes on, and nothing is left to complain."""
    records = MemoryRecords()
    sessions = Sessions(records, 1800.0, 43_200.0)
    session_id, _ = await sessions.create("staff", "ann", {}, 1000.0)

    async def away(*_: object) -> None:
        raise StateUnavailable("away")

    complaints: list[dict[str, Any]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, told: complaints.append(told))
    with monkeypatch.context() as patch:
        patch.setattr(records, "update", away)
        assert await sessions.find(session_id, 2000.0) is not None
        await sessions.close()
        gc.collect()
    assert complaints == []
    assert await sessions.find(session_id, 2001.0) is not None
    await sessions.close()
    found = await sessions.find(session_id, 2002.0)
    assert found is not None
    assert found.seen == 2001.0


async def test_what_was_read_is_not_kept_for_good(
    sessions: Sessions, records: MemoryRecords
) -> None:
    """A worker that hears of no end, as another one ended it, has forgotten the session's object within minutes."""
    elsewhere = Sessions(records, IDLE, ABSOLUTE)
    for minute in range(60):
        session_id, session = await begin(sessions, now=NOW + 60 * minute)
        assert await sessions.find(session_id, NOW + 60 * minute) == session
        await elsewhere.end(session, NOW + 60 * minute)
        assert len(sessions._parsed) <= 6
