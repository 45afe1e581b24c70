"""Key sets of issuers elsewhere: asked for in time and not more often, kept and forgotten in time, by all workers together."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any, TypeVar

import pytest

from authproxy.authn.key_source import KeySource
from authproxy.authn.keys import UNKNOWN
from authproxy.authn.remote_keys import KIND, LEASE, KeySetState, RemoteKeys
from authproxy.state.memory_records import MemoryRecords
from authproxy.state.records import Change
from authproxy.state.store import StateUnavailable
from tests.issuer import JWKS, CountingIssuer, drips, hangs, issuing, says
from tests.wire import until

T = TypeVar("T")
DAY, HOUR = 86400.0, 3600.0


class Clock:
    """A clock that is set."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


class Faltering(MemoryRecords):
    """Records that may be away."""

    away = False

    async def update(self, kind: str, key: bytes, now: float, change: Change[T]) -> T:
        if self.away:
            raise StateUnavailable("away")
        return await super().update(kind, key, now, change)


class Stage:
    """An issuer, a clock, records, and as many workers as are asked for."""

    def __init__(self, issuer: CountingIssuer) -> None:
        self.issuer, self.clock, self.records = issuer, Clock(), Faltering()
        self.workers: list[RemoteKeys] = []

    def worker(self, **keys: Any) -> RemoteKeys:
        """The key set as one more worker has it."""
        settings = self.issuer.settings(**keys)
        made = RemoteKeys(KeySource("tokens", settings), settings, b"", self.clock)
        made.records = self.records
        self.workers.append(made)
        return made

    async def look(self, *workers: RemoteKeys) -> None:
        """Each looks once, and what it begins is done."""
        for one in workers or self.workers:
            one.look()
        for one in workers or self.workers:
            if one._asking is not None:
                await one._asking

    async def learn(self) -> None:
        """What is written is known to all."""
        for one in self.workers:
            for record in await self.records.since(KIND, 0, self.clock.now):
                await one.learn(record.value)


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with issuing() as issuer:
        made = Stage(issuer)
        yield made
        for one in made.workers:
            await one.close()


async def state_of(stage: Stage) -> KeySetState:
    """What is written."""
    (record,) = await stage.records.since(KIND, 0, stage.clock.now)
    return KeySetState.read(record.value)


async def test_asked_when_due_and_not_before(stage: Stage) -> None:
    """The first look asks; then not until the issuer's max-age is nearly over."""
    stage.issuer.headers["Cache-Control"] = "max-age=1000"
    worker = stage.worker()
    assert worker.keys is UNKNOWN
    await stage.look()
    assert (worker.keys.size, stage.issuer.fetches) == (1, 1)
    stage.clock.now += 790
    await stage.look()
    assert stage.issuer.fetches == 1
    stage.clock.now += 211
    await stage.look()
    assert stage.issuer.fetches == 2


@pytest.mark.parametrize(
    ("said", "refresh", "least", "most"),
    [
        ("", "1h", 240, 300), ("max-age=1", "1h", 48, 60), ("no-store", "1h", 48, 60), ("max-age=999999", "1h", 2880, 3600),
        ("max-age=999999", "30s", 24, 30), ("", "30s", 24, 30), ("max-age=1", "2s", 1.6, 2), ("max-age=600", "24h", 480, 600),
    ],
)  # fmt: skip
async def test_bounds_of_cache_control(
    stage: Stage, said: str, refresh: str, least: float, most: float
) -> None:
    """What the issuer says counts between a minute and `refresh`, never later than that; five minutes where it is silent."""
    stage.issuer.headers["Cache-Control"] = said
    worker = stage.worker(refresh=refresh, keep="48h")
    await stage.look()
    assert least <= worker.report(stage.clock.now).refresh <= most


async def test_the_same_set_is_the_same_object(stage: Stage) -> None:
    """A fetch that brings nothing new drops no verified identity, however the set is written down."""
    worker = stage.worker()
    await stage.look()
    before = worker.keys
    document = stage.issuer.jwks()
    document["keys"][0]["x5c"] = ["junk"]
    document["keys"].append({"kty": "unheard-of"})
    stage.issuer.answers[JWKS] = says(json.dumps(document, indent=4).encode())
    stage.clock.now += HOUR
    await stage.look()
    assert (stage.issuer.fetches, worker.keys is before) == (2, True)
    stage.issuer.answers.clear()
    stage.issuer.rotate()
    stage.clock.now += HOUR
    await stage.look()
    assert worker.keys is not before


async def test_the_last_good_set_is_kept_then_forgotten(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """While the issuer errs its keys serve for `keep` since they were fetched, not a second longer; then there are none."""
    worker = stage.worker(keep="24h")
    await stage.look()
    stage.issuer.answers[JWKS] = says(b"", 500)
    for _ in range(23):
        stage.clock.now += HOUR
        await stage.look()
    report = worker.report(stage.clock.now)
    assert (worker.keys.size, report.age, report.error) == (1, 23 * HOUR, "the answer was 500")
    stage.clock.now += HOUR - 1
    await stage.look()
    assert worker.keys.size == 1
    stage.clock.now += 1
    worker.expire(stage.clock.now)
    assert worker.keys is UNKNOWN
    assert worker.report(stage.clock.now).age is None
    stage.issuer.answers.clear()
    stage.clock.now += 61
    await stage.look()
    assert (worker.keys.size, worker.report(stage.clock.now).error) == (1, None)
    said = [r.levelname for r in caplog.records if r.name.endswith("remote_keys")]
    assert said.count("ERROR") == 1


async def test_errors_do_not_flood_the_log(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """One that lasts is said again every ten minutes; the issuer is asked ever less, at least once a minute."""
    caplog.set_level(logging.WARNING)
    stage.issuer.answers[JWKS] = says(b"", 500)
    worker = stage.worker()
    for _ in range(3600):
        stage.clock.now += 1
        await stage.look()
    assert len(caplog.records) == 6
    assert 55 < stage.issuer.fetches < 70
    assert worker.failures == stage.issuer.fetches


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


async def test_a_clock_that_was_set_back(stage: Stage) -> None:
    """Moments to come say nothing: the issuer is asked, by whoever looks, and nobody waits for a lease of the future."""
    worker = stage.worker()
    await stage.look()
    stage.clock.now -= DAY
    await stage.look()
    assert stage.issuer.fetches == 2
    assert (await state_of(stage)).fetched == stage.clock.now
    late = replace(
        (await state_of(stage)), lease=stage.clock.now + DAY, due=0.0, sought=stage.clock.now + DAY
    )
    await stage.records.put(KIND, worker.source.identity, late.write(), stage.clock.now + DAY)
    await stage.learn()
    await stage.look()
    assert stage.issuer.fetches == 3


@pytest.mark.parametrize(
    "record",
    [b"", b"{}", b"[]", b"junk", b'{"jwks":"{}"}', b'{"more":1}', b'{"jwks":"junk","fetched":1800000000.0,"due":1800000099.0}'],
)  # fmt: skip
async def test_a_damaged_record(stage: Stage, record: bytes) -> None:
    """What is written there and is no key set counts as nothing; the next fetch mends it."""
    worker = stage.worker()
    await stage.records.put(KIND, worker.source.identity, record, stage.clock.now + DAY)
    await stage.look()
    stage.clock.now += 120
    await stage.look()
    assert worker.keys.size == 1


async def test_a_leaked_key_is_withdrawn(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """An issuer that publishes its private key has none from then on; an empty set is taken for an accident."""
    worker = stage.worker()
    await stage.look()
    stage.issuer.answers[JWKS] = says({"keys": []})
    stage.clock.now += HOUR
    await stage.look()
    assert worker.keys.size == 1
    (public,) = stage.issuer.jwks()["keys"]
    stage.issuer.answers[JWKS] = says({"keys": [public | {"d": "AAAA"}]})
    stage.clock.now += HOUR
    await stage.look()
    assert worker.keys is not UNKNOWN
    assert worker.keys.size == 0
    assert "private key" in caplog.text
    other = stage.worker()
    await stage.look(other)
    assert (other.keys.size, other.keys is UNKNOWN) == (0, False)


async def test_a_symmetric_key_is_never_used(stage: Stage) -> None:
    """CVE-2026-48526: one beside public keys is passed over, and those serve."""
    document = stage.issuer.jwks()
    document["keys"].append({"kty": "oct", "k": "c2VjcmV0", "kid": "s", "alg": "HS256"})
    stage.issuer.answers[JWKS] = says(document)
    worker = stage.worker()
    await stage.look()
    assert worker.keys.size == 1
    assert worker.keys.candidates("HS256", "s") == ()
    assert '"oct' not in (await state_of(stage)).jwks


async def test_what_breaks_here_breaks_nothing_else(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An error that nobody foresaw is logged once, and tried again a minute later."""

    async def broken(_self: KeySource, _seconds: float = 1) -> None:
        raise RuntimeError("unforeseen")

    worker = stage.worker()
    await stage.look()
    monkeypatch.setattr(KeySource, "ask", broken)
    stage.clock.now += HOUR
    for _ in range(50):
        await stage.look()
    assert not await worker.seek()
    assert caplog.text.count("could not be refreshed") == 1
    assert worker.keys.size == 1
