"""The admin listener: alive, ready or why not, counters and status, and nothing else."""

import asyncio
from collections.abc import Generator
from typing import TypeVar

import pytest
from aiohttp import web
from pytest_aiohttp.plugin import AiohttpClient

from authproxy.web.admin import admin_app, unhurried
from authproxy.web.status_page import POLICY
from tests.playbook import playbook

T = TypeVar("T")


def in_steps(found: T) -> Generator[None, None, T]:
    """What comes out of work with pauses."""
    yield
    yield
    return found


def silence() -> Generator[None, None, str]:
    """No metrics."""
    return in_steps("")


async def test_health_and_readiness(aiohttp_client: AiohttpClient) -> None:
    """/healthz is 200 while the process lives; /readyz says with 503 why no requests should come."""
    why: list[str] = []
    client = await aiohttp_client(admin_app(lambda: why[0] if why else None, silence))
    for path, status, text in (("/healthz", 200, "ok\n"), ("/readyz", 200, "ready\n")):
        answer = await client.get(path)
        assert (answer.status, await answer.text()) == (status, text)
    why.append("draining")
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (503, "draining\n")
    assert (await client.get("/healthz")).status == 200


async def test_metrics_are_what_is_counted(aiohttp_client: AiohttpClient) -> None:
    """/metrics is the exposition as it is at that moment, in Prometheus' own text format."""
    client = await aiohttp_client(admin_app(lambda: None, lambda: in_steps("up 1\n")))
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert await answer.text() == "up 1\n"


async def test_a_long_scrape_keeps_nobody_waiting() -> None:
    """At each pause of the work whatever else is ready to run goes first, so requests are served during a scrape."""
    order: list[str] = []

    def work() -> Generator[None, None, str]:
        for step in range(3):
            order.append(f"step {step}")
            yield
        return "done"

    async def others() -> None:
        for turn in range(3):
            order.append(f"request {turn}")
            await asyncio.sleep(0)

    _, found = await asyncio.gather(others(), unhurried(work()))
    assert found == "done"
    assert order == ["request 0", "step 0", "request 1", "step 1", "request 2", "step 2"]


async def test_no_answer_tells_versions(aiohttp_client: AiohttpClient) -> None:
    """What runs here, and in which version, is nobody's business; a 404 is aiohttp's own answer."""
    client = await aiohttp_client(admin_app(lambda: None, silence))
    for path in ("/healthz", "/nothing"):
        assert (await client.get(path)).headers["Server"] == "authproxy"


async def test_nothing_else_is_there(aiohttp_client: AiohttpClient) -> None:
    """No other path and no other method answers."""
    client = await aiohttp_client(admin_app(lambda: None, silence))
    assert (await client.get("/")).status == 404
    assert (await client.get("/config")).status == 404
    assert (await client.post("/healthz")).status == 405


async def test_the_proxied_listener_has_none_of_it() -> None:
    """CVE-2022-24797's class: a proxied listener serves no health, metrics or status of ours."""
    async with playbook() as p:
        for target in ("/healthz", "/readyz", "/metrics", "/status"):
            assert (await p.request("GET", target)).seen[0].start.startswith(f"GET {target} ")


async def status_app() -> web.Application:
    """An admin listener that tells the status of a proxy."""
    async with playbook() as p:
        facts = p.facts()
    return admin_app(lambda: None, lambda: in_steps("up 1\n"), lambda: in_steps(facts))


async def test_status_for_programs_and_for_people(aiohttp_client: AiohttpClient) -> None:
    """/status is JSON unless text/html is asked for, and also then with ?format=json; never kept, never framed."""
    client = await aiohttp_client(await status_app())
    for path, accept, kind in (
        ("/status", "*/*", "application/json"),
        ("/status", "application/json", "application/json"),
        ("/status?format=json", "text/html", "application/json"),
        ("/status", "text/html,application/xhtml+xml,*/*;q=0.8", "text/html"),
    ):
        answer = await client.get(path, headers={"Accept": accept})
        assert (answer.status, answer.content_type) == (200, kind)
        assert answer.headers["Cache-Control"] == "no-store"
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    page = await client.get("/status", headers={"Accept": "text/html"})
    assert page.headers["Content-Security-Policy"] == POLICY
    assert "Updates every" in await page.text()
    paused = await client.get("/status?refresh=off", headers={"Accept": "text/html"})
    assert "Paused" in await paused.text()
    assert (await (await client.get("/status")).json())["readiness"]["ready"] is True


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "127.0.0.1:9901",
        "[::1]:80",
        "[0:0::1]",
        "localhost.",
    ],
)
async def test_status_for_those_who_mean_us(aiohttp_client: AiohttpClient, host: str) -> None:
    """The machine itself, by address or as localhost and with any port, is served."""
    client = await aiohttp_client(await status_app())
    assert (await client.get("/status", headers={"Host": host})).status == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "evil.example:9901", "10.0.0.1",
     "localhost@evil.example", "127.0.0.1, evil.example", "0x7f.1", "2130706433", ""],
)  # fmt: skip
async def test_dns_rebinding(aiohttp_client: AiohttpClient, host: str) -> None:
    """A site whose name was pointed here is answered 421, and nothing else is said; probes and scrapers go on."""
    client = await aiohttp_client(await status_app())
    for accept in ("application/json", "text/html"):
        answer = await client.get("/status", headers={"Host": host, "Accept": accept})
        assert (answer.status, (await answer.json(content_type=None))["code"]) == (
            421,
            "misdirected",
        )
        assert "version" not in await answer.text()
    for path in ("/healthz", "/readyz", "/metrics"):
        assert (await client.get(path, headers={"Host": host})).status == 200


async def test_readiness_tells_of_troubles(aiohttp_client: AiohttpClient) -> None:
    """What does not yet keep it from serving is a line more; the first line and the status say whether it should."""
    lines = ["keys of sso, 90 s old: no answer"]
    client = await aiohttp_client(admin_app(lambda: None, silence, troubles=lambda: lines))
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (200, f"ready\n{lines[0]}\n")
