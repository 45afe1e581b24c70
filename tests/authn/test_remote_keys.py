"""Key sets of issuers elsewhere: asked for in time and not more often, kept and forgotten in time."""

import json
import logging
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from authproxy.authn.key_source import KeySource
from authproxy.authn.keys import UNKNOWN
from authproxy.authn.remote_keys import KIND
from tests.authn.key_stage import DAY, HOUR, Stage, staged, state_of
from tests.issuer import JWKS, says


@pytest.fixture
async def stage() -> AsyncIterator[Stage]:
    async with staged() as made:
        yield made


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


async def test_what_is_forgotten_is_said_whoever_notices_first(
    stage: Stage, caplog: pytest.LogCaptureFixture
) -> None:
    """Also where a question that failed comes to its end at that very moment, before anybody looked."""
    worker = stage.worker()
    await stage.look()
    record = worker._state
    stage.clock.now += 1000 * HOUR
    assert worker.keys is not UNKNOWN
    await worker._adopt(record)
    assert (worker.keys is UNKNOWN, "are forgotten" in caplog.text) == (True, True)
    await worker._adopt(record)
    assert caplog.text.count("are forgotten") == 1


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


SOUND = {b"{}", b'{"jwks":"{}"}'}  # an old one, and one whose keys are over


@pytest.mark.parametrize(
    "record",
    [b"", b"{}", b"[]", b"junk", b'{"jwks":"{}"}', b'{"more":1}', b'{"due":"soon"}', b'{"jwks":7}', b'{"jwks":"junk","fetched":1800000000.0,"due":1800000099.0}'],
)  # fmt: skip
async def test_a_damaged_record(
    stage: Stage, record: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """What is written there and is no key set counts as nothing, and that is said, once; the next fetch mends it."""
    worker = stage.worker()
    await stage.records.put(KIND, worker.source.identity, record, stage.clock.now + DAY)
    await stage.learn()
    await stage.learn()
    await stage.look()
    stage.clock.now += 120
    await stage.look()
    assert worker.keys.size == 1
    said = [one.getMessage() for one in caplog.records if "damaged" in one.getMessage()]
    assert len(said) == (record not in SOUND)
    assert not any("junk" in text for text in said)


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
