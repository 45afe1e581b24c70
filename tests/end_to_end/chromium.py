"""A real browser, Debian's chromium: it keeps cookies, policies and origins as its makers mean them, not as we do."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

from tests import playbook
from tests.end_to_end.credentials import Authority
from tests.end_to_end.nginx import need
from tests.end_to_end.served import free_port
from tests.web.portal.browser import PASSWORD, STAFF, office
from tests.web.test_tunnel import accepting
from tests.wire import Link, Message

PATIENCE = 15_000  # milliseconds, on a busy machine
FORM = b"""<!doctype html><html lang="en"><title>app</title><h1>app</h1><p id="who">%b</p>
<form method="post" action="/send"><label>Text <textarea name="text"></textarea></label><button>Send</button></form></html>"""

# Everything of two hosts is for whoever is logged in, and forms outlive their sessions.
ROUTE = STAFF | {"match": {"hosts": ["a.test", "b.test"], "paths": ["/**"]}, "preserve_post": True}


async def application(request: Message, link: Link) -> None:
    """A backend with a page, a form and a WebSocket; what is posted to it is shown."""
    request.body = await link.body(request.head)
    if request.field("upgrade"):
        await accepting()(request, link)
        return
    body = FORM % (request.body or (request.field("x-forwarded-user") or "").encode())
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(body)}\r\n\r\n"
    await link.send(head.encode() + body)


@asynccontextmanager
async def chromium(port: int) -> AsyncIterator[Browser]:
    """The browser; every name below .test is this machine."""
    need("chromium")
    rules = f"--host-resolver-rules=MAP *.test 127.0.0.1:{port}"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", rules]
        )
        try:
            yield browser
        finally:
            await browser.close()


class Town:
    """A proxy with a.test and b.test, whose login is at login.test, and a browser before it."""

    def __init__(self, proxy: playbook.Proxy, browser: Browser, port: int) -> None:
        self.proxy = proxy
        self.browser = browser
        self.port = port

    def url(self, host: str, path: str = "/") -> str:
        """A page of a host."""
        return f"https://{host}:{self.port}{path}"

    async def somebody(self, **looks: Any) -> BrowserContext:
        """A browser of its own, without a past."""
        context = await self.browser.new_context(ignore_https_errors=True, **looks)
        context.set_default_timeout(PATIENCE)
        return context


async def sign_in(page: Page, name: str = "ann") -> None:
    """Fill in the login that is shown."""
    await page.get_by_label("Username").fill(name)
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Sign in").click()


@asynccontextmanager
async def town(folder: Path, monkeypatch: pytest.MonkeyPatch, **config: Any) -> AsyncIterator[Town]:
    """All of it, while it is needed."""
    monkeypatch.setattr(playbook, "LONGEST", 90.0)
    pair = Authority(folder / "authority").issue("a.test", "b.test", "login.test")
    files = {"certificate": str(pair.certificate), "private_key": str(pair.private_key)}
    port = free_port()
    settings = {
        "listeners": [{"address": f"127.0.0.1:{port}", "tls": {"certificates": [files]}}],
        "portal": {"url": f"https://login.test:{port}"}, "routes": (ROUTE,), "play": application, **config,
    }  # fmt: skip
    async with office(folder, **settings) as proxy, chromium(port) as browser:
        yield Town(proxy, browser, port)
