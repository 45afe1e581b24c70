"""Asking others: only what may be asked, and no answer is too long, too slow or somewhere else."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable

import pytest
from aiohttp import web

from authproxy.fetch import BYTES_MOST, Fetcher, FetchError


@pytest.fixture
async def fetcher() -> AsyncIterator[Fetcher]:
    made = Fetcher()
    yield made
    await made.close()


@pytest.fixture
async def url(unused_tcp_port_factory: Callable[[], int]) -> AsyncIterator[str]:
    async def handle(request: web.Request) -> web.StreamResponse:
        match request.path:
            case "/ok":
                return web.json_response({"got": dict(await request.post())}, headers={"X-A": "b"})
            case "/elsewhere":
                return web.Response(status=302, headers={"Location": "/ok"})
            case "/most" | "/more":
                return web.Response(body=b"a" * (BYTES_MOST + (request.path == "/more")))
            case "/slow":
                await asyncio.sleep(30)
            case "/drip":
                answer = web.StreamResponse()
                await answer.prepare(request)
                while True:
                    await answer.write(b"a")
                    await asyncio.sleep(0.05)
        return web.Response(status=404, text="a body that nobody quotes")

    port = unused_tcp_port_factory()
    runner = web.AppRunner(_app(handle), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


def _app(handle: Callable[[web.Request], object]) -> web.Application:
    app = web.Application()
    app.router.add_route("*", "/{rest:.*}", handle)  # type: ignore[arg-type]
    return app


async def test_documents_and_forms(fetcher: Fetcher, url: str) -> None:
    """The body and the headers of a 200."""
    found = await fetcher.get(f"{url}/ok")
    assert (found.body, found.headers["x-a"]) == (b'{"got": {}}', "b")
    assert (await fetcher.post(f"{url}/ok", {"a": "b c"}, {})).body == b'{"got": {"a": "b c"}}'
    assert len((await fetcher.get(f"{url}/most")).body) == BYTES_MOST


@pytest.mark.parametrize(
    ("path", "why"),
    [("/elsewhere", "302"), ("/none", "404"), ("/more", "1 MiB"), ("/slow", "0.3 s"), ("/drip", "0.3 s")],
)  # fmt: skip
async def test_no_other_answer_is_taken(fetcher: Fetcher, url: str, path: str, why: str) -> None:
    """A redirect, another status, too much or too slow; nothing of the body is told."""
    with pytest.raises(FetchError, match=why) as refused:
        await fetcher.get(url + path, seconds=0.3 if "s" in why else 5)
    assert "quotes" not in str(refused.value)


async def test_another_answer_is_taken_where_it_is_wished_for(fetcher: Fetcher, url: str) -> None:
    """With its status; every other status is none still."""
    found = await fetcher.post(f"{url}/none", {}, {}, also={404})
    assert (found.status, (await fetcher.post(f"{url}/ok", {}, {}, also={404})).status) == (
        404,
        200,
    )
    with pytest.raises(FetchError, match="404"):
        await fetcher.post(f"{url}/none", {}, {}, also={400})


async def test_what_may_not_be_asked_is_not(fetcher: Fetcher) -> None:
    """Nothing is sent; and where nobody listens that is said."""
    with pytest.raises(FetchError, match="https"):
        await fetcher.get("http://issuer.test/")
    with pytest.raises(FetchError, match="no answer"):
        await fetcher.get("http://127.0.0.1:1/")


async def test_an_unknown_authority_is_not_believed(fetcher: Fetcher) -> None:
    """The certificate is always verified."""
    assert fetcher._tls.verify_mode == ssl.CERT_REQUIRED
    assert fetcher._tls.check_hostname


async def test_proxies_are_for_elsewhere(
    fetcher: Fetcher, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the environment names is asked on the way to others; what is plain never leaves this machine."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    assert (await fetcher.get(f"{url}/ok")).body
    with pytest.raises(FetchError, match=r"127\.0\.0\.1"):
        await fetcher.get("https://issuer.test/")
