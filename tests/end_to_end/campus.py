"""A real provider, a proxy of several workers with TLS, and a real browser: people who log in at a provider."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.end_to_end.chromium import PATIENCE, application, chromium
from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.identity import IdentityProvider
from tests.end_to_end.served import Served, configuration, free_port, write_configuration
from tests.web.portal.browser import STAFF, users_text
from tests.wire import LINE_MOST, Backend

SECRET = "a secret of the clients, long enough"
TITLES = {"acme": "Acme Inc.", "guests": "Guests of Acme"}
HOST, PORTAL = "a.test", "login.test"


@dataclass
class Campus:
    """The site a.test, whose people log in at login.test: by password, or at a provider by one of two names."""

    provider: IdentityProvider
    served: Served
    browser: Browser
    port: int

    def url(self, path: str, host: str = HOST, scheme: str = "https") -> str:
        """A page of a host."""
        return f"{scheme}://{host}:{self.port}{path}"

    async def tabs(self, count: int) -> list[Page]:
        """So many tabs of one browser without a past."""
        context = await self.browser.new_context(ignore_https_errors=True)
        context.set_default_timeout(PATIENCE)
        return [await context.new_page() for _ in range(count)]

    async def log_in(self, page: Page, path: str, title: str = TITLES["acme"]) -> None:
        """Ask for a page, choose the provider, log in there and consent; the page is there in the end."""
        await page.goto(self.url(path))
        await page.get_by_role("link", name=f"Continue with {title}").click()
        await page.locator("[name=login]").fill("ann")
        await page.locator("[name=password]").fill("any")
        await page.locator("button[type=submit]").click()
        await page.get_by_role("button", name="Continue").click()
        await page.wait_for_url(self.url(path))
        await expect(page.locator("#who")).to_have_text("ann")

    def spent(self) -> int:
        """How many refresh tokens were spent; none of them twice."""
        said = self.provider.said()
        assert "already used" not in said, said
        return said.count("refresh_token.consumed")


def _client(name: str, portal: str) -> dict[str, Any]:
    return {
        "client_id": name, "client_secret": SECRET, "redirect_uris": [f"{portal}/.authproxy/callback/{name}"],
        "grant_types": ["authorization_code", "refresh_token"], "response_types": ["code"],
        "scope": "openid profile email groups", "post_logout_redirect_uris": [f"{portal}/.authproxy/logout"],
        "token_endpoint_auth_method": "client_secret_basic",
    }  # fmt: skip


@asynccontextmanager
async def campus(folder: Path, *, lifetime: int = 600, workers: int = 2) -> AsyncIterator[Campus]:
    """All of it, while it is needed; the provider's tokens live for `lifetime` seconds."""
    port = free_port()
    portal = f"https://{PORTAL}:{port}"
    provider = IdentityProvider(folder, [_client(name, portal) for name in TITLES], lifetime)
    backend = Backend(application)
    server = await asyncio.start_server(backend.serve, "127.0.0.1", 0, limit=LINE_MOST)
    served = None
    try:
        file = _written(folder, provider, port, server.sockets[0].getsockname()[1], workers)
        served = await asyncio.to_thread(Served, file, OIDC_SECRET=SECRET)
        async with chromium(port) as browser:
            yield Campus(provider, served, browser, port)
    finally:
        if served is not None:
            await asyncio.to_thread(served.stop)
        provider.stop()
        server.close()
        await backend.end()


def _written(
    folder: Path, provider: IdentityProvider, port: int, backend: int, workers: int
) -> Path:
    (folder / "users.yaml").write_text(users_text())
    pair = Authority(folder / "authority").issue(HOST, PORTAL)
    files = {"certificate": str(pair.certificate), "private_key": str(pair.private_key)}
    config = configuration(
        {"backend": {"servers": [f"http://127.0.0.1:{backend}"]}},
        listeners=[{"address": f"127.0.0.1:{port}", "tls": {"certificates": [files]}}],
        portal={"url": f"https://{PORTAL}:{port}"},
        state={"url": "lmdb:state"},
        workers=workers,
    )
    people = config["authenticators"]
    people["staff"] = {"type": "password", "users": {"file": "users.yaml"}}
    for name, title in TITLES.items():
        people[name] = {
            "type": "oidc", "issuer": provider.issuer, "client_id": name, "client_secret": {"env": "OIDC_SECRET"},
            "scopes": ["openid", "profile", "email", "groups"], "title": title,
        }  # fmt: skip
    route = STAFF | {"match": {"hosts": [HOST], "paths": ["/**"]}, "authenticate": ["staff", *TITLES]}  # fmt: skip
    return write_configuration(folder, Issuer(), config, [route])
