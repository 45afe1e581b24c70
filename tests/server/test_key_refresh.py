"""The remote keys of a running worker: there before they are needed, told in readiness, status and metrics, kept by reloads."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.bearer import FollowingVerifier
from authproxy.authn.remote_keys import KIND, RemoteKeys
from authproxy.runtime import compile_runtime
from authproxy.server.figures import KEY_SET_AGE, KEY_SET_FETCHES, bring_figures
from authproxy.server.key_refresh import KeyRefresh
from authproxy.server.reload import prepare
from authproxy.state.memory_records import MemoryRecords
from authproxy.telemetry.metrics import Metrics, Pages
from authproxy.web.status import KeySetStatus, assemble
from tests.issuer import JWKS, CountingIssuer, hangs, issuing, says
from tests.playbook import GUARDED, OPEN, Proxy, configuration, playbook, token, write_files
from tests.telemetry.counted import scraped
from tests.web.portal.sso import Person, company
from tests.wire import until


@pytest.fixture
async def issuer() -> AsyncIterator[CountingIssuer]:
    async with issuing() as made:
        yield made


def at(issuer: CountingIssuer, **keys: Any) -> dict[str, Any]:
    """The configuration's part: keys from this issuer."""
    return {"authenticators": {"tokens": issuer.authenticator(**keys)}}


def remote_of(p: Proxy) -> RemoteKeys:
    """The running key set."""
    verifier = p.worker._runtime.authenticators["tokens"]
    assert isinstance(verifier, FollowingVerifier)
    return verifier.remote


async def ask(p: Proxy, credential: str) -> int:
    """The status of a guarded request."""
    return (await p.request("GET", "/guarded/1", token=credential)).status


async def test_no_request_waits_for_the_keys_in_force(issuer: CountingIssuer) -> None:
    """They are fetched at the start, by discovery too; a hundred requests cost no question."""
    async with playbook(**at(issuer, discovery=True)) as p:
        credential = issuer.token()
        assert {await ask(p, credential) for _ in range(20)} == {200}
        assert issuer.fetches == 1
        assert await ask(p, token()) == 401


async def test_a_rotation_loses_no_request(issuer: CountingIssuer) -> None:
    """Tokens of a key that was published a moment ago pass at once, however many come together; the old key is dead."""
    async with playbook(**at(issuer)) as p:
        old = issuer.token()
        assert await ask(p, old) == 200
        issuer.rotate()
        statuses = await asyncio.gather(*(ask(p, issuer.token()) for _ in range(30)))
        assert (set(statuses), issuer.fetches) == ({200}, 2)
        assert await ask(p, old) == 401


async def test_a_withdrawn_key_is_dead_in_time(issuer: CountingIssuer) -> None:
    """Within `refresh` also for identities that are cached, and also though no token of a new key comes."""
    async with playbook(**at(issuer, refresh="1s")) as p:
        old = issuer.token()
        assert [await ask(p, old) for _ in range(3)] == [200] * 3
        issuer.rotate()
        withdrawn = remote_of(p).keys
        await until(lambda: remote_of(p).keys is not withdrawn, 1.5)
        assert await ask(p, old) == 401
        assert await ask(p, issuer.token()) == 200


async def test_the_issuer_is_away_from_the_start(issuer: CountingIssuer) -> None:
    """Its tokens are 503, nobody else suffers; readiness says why, and all is well once it answers."""
    issuer.answers[JWKS] = says(b"", 500)
    async with playbook(GUARDED, OPEN, **at(issuer)) as p:
        answer = await p.request("GET", "/guarded/1", token=issuer.token())
        line = (await p.logged())[0]
        assert (answer.status, line["code"], line["reason"]) == (
            503,
            "state_unavailable",
            "no-keys",
        )
        assert await ask(p, token()) == 401
        assert (await p.request("GET", "/open")).status == 200
        assert p.worker._why_unready() == "no keys of tokens"
        assert list(p.worker._keys.troubles()) == [
            "keys of tokens, there are none: the answer was 500"
        ]
        issuer.answers.clear()
        await until(lambda: p.worker._why_unready() is None, 5)
        assert await ask(p, issuer.token()) == 200
        assert list(p.worker._keys.troubles()) == []


async def test_a_request_waits_for_the_first_set(issuer: CountingIssuer) -> None:
    """Those that come before the first answer wait for it, and pass."""
    release = asyncio.Event()

    async def slow(request: Any) -> Any:
        await release.wait()
        return await says(issuer.jwks())(request)

    issuer.answers[JWKS] = slow
    async with playbook(**at(issuer)) as p:
        waiting = [asyncio.create_task(ask(p, issuer.token())) for _ in range(5)]
        await until(lambda: issuer.fetches == 1)
        release.set()
        assert {await one for one in waiting} == {200}
        assert issuer.fetches == 1


async def test_bad_tokens_have_nobody_asked(issuer: CountingIssuer) -> None:
    """A forged signature of a key at hand, another algorithm, another issuer: no question; unknown keys: one in all."""
    async with playbook(failed_authentications="100000/minute", **at(issuer)) as p:
        good = issuer.token()
        assert await ask(p, good) == 200
        for bad in (good[:-8] + "AAAAAAAA", token(), "junk"):
            assert await ask(p, bad) == 401
        assert issuer.fetches == 1
        other = CountingIssuer(issuer.url)
        for _ in range(50):
            other.rotate()
            assert await ask(p, other.token()) == 401
        assert issuer.fetches == 2


async def test_status_and_metrics(issuer: CountingIssuer) -> None:
    """Where the keys come from, their age, the last error and the next question; both results are counted."""
    async with playbook(**at(issuer, refresh="1s", url=issuer.url + "/jwks?key=1")) as p:
        assert await ask(p, issuer.token()) == 200
        issuer.answers[JWKS] = says(b"", 500)
        await until(lambda: list(p.worker._keys.troubles()), 5)
        p.worker._measure()
        (keys,) = assemble(p.facts()).key_sets
        assert isinstance(keys, KeySetStatus)
        assert (keys.source, keys.last_error) == (issuer.url + "/jwks", "the answer was 500")
        assert keys.age_seconds is not None
        assert keys.next_refresh is not None
        counted, name = scraped(p.worker._pages), ("authenticator", "tokens")
        assert counted[KEY_SET_FETCHES, (name, ("result", "success"))] == 1
        assert counted[KEY_SET_FETCHES, (name, ("result", "failure"))] == 1
        assert counted[KEY_SET_AGE, (name,)] >= 0


async def test_a_thousand_reloads_ask_nobody(issuer: CountingIssuer) -> None:
    """An unchanged section keeps its running set; one that changed asks, its predecessor ends."""
    async with playbook(**at(issuer)) as p:
        assert await ask(p, issuer.token()) == 200
        before = remote_of(p)
        prepared = prepare(p.loaded.file, {}, p.worker._runtime)
        for _ in range(1000):
            again = replace(prepared, runtime=replace(prepared.runtime, pools={}))
            await p.worker._take_over(again)
        for _ in range(20):
            await p.worker._take_over(prepare(p.loaded.file, {}, p.worker._runtime))
        assert (remote_of(p) is before, issuer.fetches) == (True, 1)
        text = p.loaded.file.read_text().replace("/jwks", "/jwks?2")
        p.loaded.file.write_text(text)
        await p.worker._take_over(prepare(p.loaded.file, {}, p.worker._runtime))
        assert remote_of(p) is not before
        assert await ask(p, issuer.token()) == 200
        assert (issuer.fetches, before._closed) == (2, True)


async def test_a_drain_waits_for_no_issuer(issuer: CountingIssuer) -> None:
    """What is being asked when a worker ends is let go of."""
    issuer.answers[JWKS] = hangs
    async with playbook(**at(issuer)) as p:
        await until(lambda: issuer.fetches == 1)
        p.worker.stop()
        await asyncio.wait_for(p.serving, 2)


async def test_workers_learn_from_each_other(issuer: CountingIssuer, tmp_path: Path) -> None:
    """What one writes to the records, the others serve with at their next look; a set that is gone has no age."""
    loaded = write_files(tmp_path, configuration("http://127.0.0.1:9", **at(issuer)), [GUARDED])
    records, pages = MemoryRecords(), Pages(1)
    metrics = Metrics(pages, 0)
    workers = [KeyRefresh(metrics) for _ in range(4)]
    runtimes = [replace(compile_runtime(loaded, {}), records=records) for _ in workers]
    for worker, runtime in zip(workers, runtimes, strict=True):
        await worker.follow(runtime)
    await until(lambda: not any(worker.unready() for worker in workers), 3)
    assert issuer.fetches == 1
    issuer.rotate()
    await workers[2]._sets["tokens"].seek()
    newest = workers[2]._sets["tokens"].keys.version
    await until(lambda: {x._sets["tokens"].keys.version for x in workers} == {newest}, 3)
    assert issuer.fetches == 2
    bring_figures(runtimes[0], metrics)
    assert (KEY_SET_AGE, (("authenticator", "tokens"),)) in scraped(pages)
    await workers[0].follow(replace(runtimes[0], authenticators={}))
    assert not [series for series in scraped(pages) if series[0] == KEY_SET_AGE]
    for worker, runtime in zip(workers, runtimes, strict=True):
        await worker.close()
        runtime.access_log.close()


async def test_the_keys_of_a_provider_are_followed_too() -> None:
    """From the first login on, in the records that all share, over a reload; a worker is ready before anybody knows them."""
    async with company() as (p, provider):
        assert p.worker._why_unready() is None
        assert provider.asked["/jwks"] == 0
        assert (await Person(p, provider).sign_in()).status == 303
        assert await p.runtime.records.count(KIND) == 1
        before = p.worker._keys._sets["sso"]
        await p.worker._reload()
        assert p.worker._keys._sets["sso"] is before
        assert not before._closed
        assert (await Person(p, provider).sign_in()).status == 303
        assert provider.asked["/jwks"] == 1
        bring_figures(p.worker._runtime, p.worker._metrics)
        fetched = (("authenticator", "sso"), ("result", "success"))
        assert scraped(p.worker._pages)[KEY_SET_FETCHES, fetched] == 1.0


async def test_nothing_runs_where_nothing_is_remote() -> None:
    """Without such an authenticator there is no task and nothing to say."""
    async with playbook() as p:
        assert p.worker._keys._task is None
        assert (p.worker._keys.unready(), list(p.worker._keys.troubles())) == (None, [])
    idle = KeyRefresh(Metrics(Pages(1), 0))
    await idle.close()
