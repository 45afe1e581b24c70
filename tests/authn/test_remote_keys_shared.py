"""Key sets of issuers elsewhere, of several workers: one asks for all, and those who seek a key wait for one answer."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from authproxy.authn.keys import UNKNOWN
from authproxy.authn.remote_keys import LEASE
from tests.authn.key_stage import DAY, HOUR, Stage, staged, state_of
from tests.issuer import JWKS, drips, hangs, says
from tests.wire import until


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


async def test_workers_share_what_one_fetched(stage: Stage) -> None:
    """Of eight workers that begin at once, one asks; all have the keys."""
    workers = [stage.worker() for _ in range(8)]
    await stage.look()
    await stage.learn()
    assert stage.issuer.fetches == 1
    assert {one.keys.version for one in workers} == {workers[0].keys.version}
    stage.clock.now += HOUR
    await stage.look()
    assert stage.issuer.fetches == 2


async def test_a_restart_while_the_issuer_is_away(stage: Stage) -> None:
    """A new process serves with what the last one fetched, as long as that one would have; then with nothing."""
    await stage.look(stage.worker())
    stage.issuer.answers[JWKS] = hangs
    stage.clock.now += 60
    later = stage.worker()
    await stage.look(later)
    assert (later.keys.size, stage.issuer.fetches) == (1, 1)
    stage.clock.now += DAY
    last = stage.worker()
    stage.issuer.answers[JWKS] = says(b"", 500)
    await stage.look(last)
    assert last.keys is UNKNOWN


async def test_an_unknown_key_has_the_issuer_asked(stage: Stage) -> None:
    """Whoever seeks a key gets it after one question that all share."""
    worker = stage.worker()
    await stage.look()
    stage.issuer.rotate()
    found = await asyncio.gather(*(worker.seek() for _ in range(100)))
    assert (set(found), stage.issuer.fetches) == ({True}, 2)


async def test_the_first_set_costs_no_cool_down(stage: Stage) -> None:
    """Whoever waits for the first set seeks no key of its own: a rotation right after it is followed all the same."""
    worker = stage.worker()
    assert await worker.seek()
    stage.issuer.rotate()
    assert await worker.seek()
    assert not await worker.seek()
    assert stage.issuer.fetches == 2


async def test_a_flood_of_unknown_keys(stage: Stage) -> None:
    """CVE-2026-48524: ten thousand tokens of keys that are nobody's cost one question in each cool-down, in all workers."""
    workers = [stage.worker() for _ in range(4)]
    await stage.look()
    await stage.learn()
    for _ in range(3):
        for _ in range(25):
            await asyncio.gather(*(one.seek() for one in workers for _ in range(100)))
        stage.clock.now += 31
    assert stage.issuer.fetches == 1 + 3


async def test_a_seeker_does_not_wait_for_long(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An issuer that hangs costs the first seekers their patience, those that come after it nothing."""
    monkeypatch.setattr("authproxy.authn.remote_keys.PATIENCE", 0.1)
    worker, loop = stage.worker(), asyncio.get_running_loop()
    await stage.look()
    stage.issuer.answers[JWKS] = drips
    begun = loop.time()
    assert not await worker.seek()
    assert 0.05 < loop.time() - begun < 1
    begun = loop.time()
    for _ in range(1000):
        assert not await worker.seek()
    assert loop.time() - begun < 1
    assert (stage.issuer.fetches, worker.keys.size) == (2, 1)


async def test_a_seeker_waits_for_another_worker(stage: Stage) -> None:
    """Where another worker asks already, its answer is waited for, and asked anew only where it brings nothing."""
    one, other = stage.worker(), stage.worker()
    release = asyncio.Event()
    serve = says(stage.issuer.jwks())

    async def slow(request: Any) -> Any:
        await release.wait()
        return await serve(request)

    stage.issuer.answers[JWKS] = slow
    one.look()
    await until(lambda: stage.issuer.fetches == 1)
    seeking = asyncio.create_task(other.seek())
    await asyncio.sleep(0)
    release.set()
    assert await seeking
    assert (other.keys.size, stage.issuer.fetches) == (1, 1)


async def test_seekers_of_all_workers_wait_for_one_question(stage: Stage) -> None:
    """A worker that knows of another's question under way waits for it, and does not take it for one lately answered."""
    one, other = stage.worker(), stage.worker()
    await stage.look()
    await stage.learn()
    stage.issuer.rotate()
    release, serve = asyncio.Event(), says(stage.issuer.jwks())

    async def slow(request: Any) -> Any:
        await release.wait()
        return await serve(request)

    stage.issuer.answers[JWKS] = slow
    seeking = [asyncio.create_task(one.seek())]
    await until(lambda: stage.issuer.fetches == 2)
    await stage.learn()
    seeking.append(asyncio.create_task(other.seek()))
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(*seeking) == [True, True]
    assert (stage.issuer.fetches, one.keys.version) == (2, other.keys.version)


async def test_another_workers_question_is_waited_for_once(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the issuer hangs, seekers of the other workers are patient once, and refused at once from then on."""
    monkeypatch.setattr("authproxy.authn.remote_keys.PATIENCE", 0.1)
    one, other = stage.worker(), stage.worker()
    await stage.look()
    await stage.learn()
    stage.issuer.answers[JWKS] = hangs
    assert not await one.seek()
    begun = asyncio.get_running_loop().time()
    for _ in range(200):
        assert not await other.seek()
    assert asyncio.get_running_loop().time() - begun < 1
    assert stage.issuer.fetches == 2


async def test_without_the_records_each_asks_for_itself(stage: Stage) -> None:
    """The state's outage is none of the tokens': each worker fetches, and what is newest is written when it is back."""
    one, other = stage.worker(), stage.worker()
    await stage.look()
    stage.issuer.rotate()
    stage.records.away = True
    stage.clock.now += HOUR
    await stage.look()
    assert (stage.issuer.fetches, one.keys.version) == (3, other.keys.version)
    kept = one.keys
    stage.records.away = False
    stage.clock.now += HOUR
    stage.issuer.answers[JWKS] = says(b"", 500)
    await stage.look(one)
    assert one.keys is kept
    assert (await state_of(stage)).fetched == stage.clock.now - HOUR


async def test_a_worker_that_died_while_it_asked(stage: Stage) -> None:
    """Its lease ends by itself; one that was closed gives it back at once."""
    stage.issuer.answers[JWKS] = hangs
    dead, next_one = stage.worker(), stage.worker()
    dead.look()
    await until(lambda: stage.issuer.fetches == 1)
    stage.issuer.answers.clear()
    await stage.look(next_one)
    assert next_one.keys is UNKNOWN
    stage.clock.now += LEASE + 0.1
    await stage.look(next_one)
    assert next_one.keys.size == 1
    stage.clock.now += HOUR
    stage.issuer.answers[JWKS] = hangs
    next_one.look()
    await until(lambda: stage.issuer.fetches == 3)
    assert (await state_of(stage)).is_leased(stage.clock.now)
    await next_one.close()
    assert not (await state_of(stage)).is_leased(stage.clock.now)
    assert not await next_one.seek()
