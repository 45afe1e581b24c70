"""The admin listener: alive, ready or why not, and nothing else."""

from pytest_aiohttp.plugin import AiohttpClient

from authproxy.web.admin import admin_app
from tests.playbook import playbook


async def test_health_and_readiness(aiohttp_client: AiohttpClient) -> None:
    """/healthz is 200 while the process lives; /readyz says with 503 why no requests should come."""
    why: list[str] = []
    client = await aiohttp_client(admin_app(lambda: why[0] if why else None, str))
    for path, status, text in (("/healthz", 200, "ok\n"), ("/readyz", 200, "ready\n")):
        answer = await client.get(path)
        assert (answer.status, await answer.text()) == (status, text)
    why.append("draining")
    answer = await client.get("/readyz")
    assert (answer.status, await answer.text()) == (503, "draining\n")
    assert (await client.get("/healthz")).status == 200


async def test_metrics_are_what_is_counted(aiohttp_client: AiohttpClient) -> None:
    """/metrics is the exposition as it is at that moment, in Prometheus' own text format."""
    client = await aiohttp_client(admin_app(lambda: None, lambda: "up 1\n"))
    answer = await client.get("/metrics")
    assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert await answer.text() == "up 1\n"


async def test_nothing_else_is_there(aiohttp_client: AiohttpClient) -> None:
    """No other path and no other method answers."""
    client = await aiohttp_client(admin_app(lambda: None, str))
    assert (await client.get("/")).status == 404
    assert (await client.get("/config")).status == 404
    assert (await client.post("/healthz")).status == 405


async def test_the_proxied_listener_has_none_of_it() -> None:
    """CVE-2022-24797's class: a proxied listener serves no health, metrics or status of ours."""
    async with playbook() as p:
        for target in ("/healthz", "/readyz", "/metrics", "/status"):
            assert (await p.request("GET", target)).seen[0].start.startswith(f"GET {target} ")
