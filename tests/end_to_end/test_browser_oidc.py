"""People in a real browser at a real provider: chosen among several ways in, refreshed in two tabs at once, and out again."""

import asyncio
import time
from pathlib import Path

from playwright.async_api import Page, expect

from tests.end_to_end.campus import HOST, PORTAL, TITLES, Campus, campus
from tests.end_to_end.chromium import sign_in
from tests.end_to_end.test_browser import SOCKET

LIFETIME = 2  # seconds
# What a page's own scripts get, ten at once.
ASK = "path => Promise.all([...Array(10).keys()].map(n => fetch(`${path}?${n}`).then(answer => answer.status)))"


async def test_somebody_chooses_a_way_in_and_leaves(tmp_path: Path) -> None:
    """The chooser leads there and back to the page; a logout ends what the other tab holds, and the provider's own login."""
    async with campus(tmp_path) as c:
        one, other = await c.tabs(2)
        await one.goto(c.url("/page?q=1"))
        for title in TITLES.values():
            await expect(one.get_by_role("link", name=f"Continue with {title}")).to_be_visible()
        await expect(one.get_by_label("Username")).to_be_focused()
        await c.log_in(one, "/page?q=1")
        cookies = [x for x in await one.context.cookies() if x.get("name") == "__Host-authproxy"]
        assert {x.get("domain") for x in cookies} == {HOST, PORTAL}
        await other.goto(c.url("/other"))
        await expect(other.locator("#who")).to_have_text("ann")
        assert await other.evaluate(SOCKET, c.url("/ws", scheme="wss"))
        await log_out(one, c)
        assert await other.evaluate("window.gone") == 1008
        for _ in range(8):  # as far back as there is
            await one.go_back()
            await expect(one.locator("#who")).to_have_count(0)
        await other.reload()
        assert other.url.startswith(c.url("/.authproxy/login?next=", PORTAL))
        await other.get_by_role("link", name=TITLES["acme"]).click()
        await expect(other.locator("[name=password]")).to_be_visible()  # it asks again
        await another_way_in(c)


async def log_out(page: Page, c: Campus) -> None:
    """By our own button, then by the provider's; it ends at the portal."""
    await page.goto(c.url("/.authproxy/logout"))
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("button", name="Yes, sign me out").click()
    await page.wait_for_url(lambda url: url.startswith(c.url("/.authproxy/logout", PORTAL)))
    await expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()


async def another_way_in(c: Campus) -> None:
    """The same page takes a password; a provider that somebody says no at is said to have, and the ways in are there again."""
    (bob,) = await c.tabs(1)
    await bob.goto(c.url("/page"))
    await bob.get_by_role("link", name=TITLES["guests"]).click()
    await bob.get_by_role("link", name="Cancel").click()
    await expect(bob.get_by_role("alert")).to_contain_text("Guests of Acme did not let you in")
    await expect(bob.get_by_role("link", name=TITLES["guests"])).to_be_visible()
    await sign_in(bob, "bob")
    await bob.wait_for_url(c.url("/page"))
    await expect(bob.locator("#who")).to_have_text("bob")


async def test_two_tabs_race_a_refresh(tmp_path: Path) -> None:
    """The provider ends a login whose refresh token comes twice: of two tabs and their scripts, over four workers, one spends it.

    oauth2-proxy #1992: the slower tab was logged out.
    """
    async with campus(tmp_path, lifetime=LIFETIME, workers=4) as c:
        one, other = await c.tabs(2)
        await c.log_in(one, "/page")
        await other.goto(c.url("/other"))
        spent, began = c.spent(), time.monotonic()
        await asyncio.sleep(LIFETIME + 0.2)
        found = await asyncio.gather(one.evaluate(ASK, "/one"), other.evaluate(ASK, "/other"))
        assert [*found] == [[200] * 10] * 2
        await asyncio.gather(one.reload(), other.reload())
        for tab in (one, other):
            await expect(tab.locator("#who")).to_have_text("ann")
        assert 1 <= c.spent() - spent <= (time.monotonic() - began) // LIFETIME
