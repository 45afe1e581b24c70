"""Logins under way: found by their state, of one browser, good once and not for long."""

import asyncio

from authproxy.authn.login_records import KIND, SECONDS, PendingLogins
from authproxy.state.memory_records import MemoryRecords

NOW = 1_800_000_000.0


async def test_a_login_is_found_by_its_state_and_by_nothing_else() -> None:
    """What is kept gives away neither the state nor what the browser holds."""
    records = MemoryRecords()
    pending = PendingLogins(records)
    state, login = await pending.begin("sso", "secret of a browser", "https://a.test", "/x", NOW)
    assert await pending.find(state, NOW + SECONDS - 1) == login
    for other in ("", state[:-1], state.swapcase(), "\ud800", "x" * 5000):
        assert await pending.find(other, NOW) is None
    (kept,) = await records.since(KIND, 0, NOW)
    assert state.encode() not in kept.key + kept.value
    assert b"secret of a browser" not in kept.value


async def test_it_is_over_after_ten_minutes() -> None:
    """Whoever went for lunch begins anew."""
    pending = PendingLogins(MemoryRecords())
    state, _ = await pending.begin("sso", "b", "https://a.test", "/x", NOW)
    assert await pending.find(state, NOW + SECONDS) is None


async def test_it_is_of_one_browser() -> None:
    """Nobody else's secret, and none at all, is good enough."""
    _, login = await PendingLogins(MemoryRecords()).begin("sso", "b", "https://a.test", "/x", NOW)
    assert [login.is_of(secret) for secret in ("b", "c", "", None, "\ud800")] == [
        True, False, False, False, False,
    ]  # fmt: skip


async def test_of_several_that_take_it_one_has_it() -> None:
    """Two tabs, two workers: one login."""
    pending = PendingLogins(MemoryRecords())
    state, _ = await pending.begin("sso", "b", "https://a.test", "/x", NOW)
    taken = await asyncio.gather(*(pending.take(state) for _ in range(20)))
    assert taken.count(True) == 1
    assert await pending.find(state, NOW) is None
