"""Several hosts with one login, behind a front proxy that ends TLS, and a person whose browser visits all of them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from tests.playbook import Proxy
from tests.web.portal.browser import PASSWORD, SCRIPT, STAFF, Browser, Form, office
from tests.wire import Answer

PORTAL = "https://login.test"
FRONT = {"trusted_proxies": {"networks": ["127.0.0.0/8"]}}
HOSTS: dict[str, Any] = STAFF | {
    "match": {"hosts": ["a.test", "b.test", "*.apps.test"], "paths": ["/**"]}
}


class Person:
    """Somebody whose browser keeps each host's cookies apart, as `__Host-` cookies are."""

    def __init__(self, proxy: Proxy) -> None:
        self.proxy = proxy
        self.at: dict[str, Browser] = {}

    async def go(
        self, url: str, method: str = "GET", form: dict[str, str] | None = None, **more: Any
    ) -> Answer:
        """Ask for a page by its URL, or send a form."""
        parts = urlsplit(url)
        browser = self.at.setdefault(parts.netloc, Browser(self.proxy))
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        browser.origin = f"{parts.scheme}://{parts.netloc}"
        return await browser.go(target, method, form=form, **more)

    async def follow(self, url: str, answer: Answer) -> tuple[str, Answer]:
        """Where the answer to `url` leads to in the end, and what is there."""
        for _ in range(8):
            where = answer.field("location")
            if where is None:
                return url, answer
            url = where if "://" in where else f"{'/'.join(url.split('/')[:3])}{where}"
            answer = await self.go(url)
        raise AssertionError(f"round and round: {url}")

    async def visit(self, url: str) -> tuple[str, Answer]:
        """A page, by whatever redirects."""
        return await self.follow(url, await self.go(url))

    async def log_in(self, url: str, **changes: str) -> tuple[str, Answer]:
        """A page that needs a login, with the form on the way filled in."""
        where, page = await self.visit(url)
        return await self.fill_in(where, page, **changes)

    async def fill_in(self, where: str, page: Answer, **changes: str) -> tuple[str, Answer]:
        """Send the form of a login page."""
        form = Form(page.body.decode())
        fields = form.fields | {"username": "ann", "password": PASSWORD} | changes
        action = f"{'/'.join(where.split('/')[:3])}{form.action}"
        return await self.follow(action, await self.go(action, "POST", form=fields))

    async def may(self, url: str) -> int:
        """The status of a page, asked for by a script."""
        return (await self.go(url, headers=SCRIPT)).status


@asynccontextmanager
async def street(folder: Path, **config: Any) -> AsyncIterator[Proxy]:
    """A proxy for a.test, b.test and whatever is below apps.test, whose login is at login.test."""
    settings = {"routes": (HOSTS,), "portal": {"url": PORTAL}, **FRONT, **config}
    async with office(folder, **settings) as proxy:
        yield proxy


def ticket_of(answer: Answer) -> str:
    """The ticket that a browser is sent on with."""
    return (answer.field("location") or "").partition("ticket=")[2]


def asking(**query: str) -> str:
    """The target of a handover on the portal."""
    return f"/.authproxy/handover?{urlencode(query)}"
