"""People in a real browser: what its own rules for cookies, policies, history and sockets make of our pages."""

import asyncio
import json
import time
from contextlib import closing
from pathlib import Path

import pyotp
import pytest
from playwright.async_api import Page, expect

from tests.end_to_end.chromium import ROUTE, Town, application, sign_in, town
from tests.web.portal.browser import users_text
from tests.web.portal.test_resend import expire
from tests.wire import Link, Message, until

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
SOCKET = """url => new Promise(opened => {
  const socket = new WebSocket(url);
  window.gone = new Promise(tell => { socket.onclose = event => tell(event.code); });
  socket.onopen = () => opened(true); socket.onerror = () => opened(false);
})"""


async def log_out(page: Page, t: Town, host: str) -> None:
    """By the page's own button."""
    await page.goto(t.url(host, "/.authproxy/logout"))
    await page.get_by_role("button", name="Sign out").click()
    await expect(page.get_by_role("heading", name="You are signed out")).to_be_visible()


async def test_one_login_with_a_code_serves_two_hosts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three sites and their cookies, a form whose answer leads to another site; the second host asks nothing."""
    (tmp_path / "users.yaml").write_text(users_text(ann=f", totp: {SECRET}"))
    async with town(tmp_path, monkeypatch) as t:
        person = await t.somebody()
        page = await person.new_page()
        await page.goto(t.url("a.test", "/page?q=1"))
        assert page.url.startswith(t.url("login.test", "/.authproxy/login?next="))
        await sign_in(page)
        code = page.get_by_label("Code of six digits")
        await expect(code).to_be_focused()
        await code.fill("000000")
        await code.press("Enter")
        await expect(page.get_by_role("alert")).to_contain_text("is not right")
        await page.get_by_label("Code of six digits").fill(pyotp.TOTP(SECRET).at(int(time.time())))
        await page.get_by_role("button", name="Sign in").click()
        await page.wait_for_url(t.url("a.test", "/page?q=1"))
        await expect(page.locator("#who")).to_have_text("ann")
        await page.goto(t.url("b.test", "/other"))
        assert page.url == t.url("b.test", "/other")
        cookies = [c for c in await person.cookies() if c.get("name") == "__Host-authproxy"]
        assert {c.get("domain") for c in cookies} == {"a.test", "b.test", "login.test"}
        assert all(
            c.get("secure") and c.get("httpOnly") and c.get("sameSite") == "Lax" for c in cookies
        )


async def test_a_logout_in_one_tab_ends_the_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its WebSocket closes with 1008 within two seconds, on another host too; going back shows nothing any more."""
    async with town(tmp_path, monkeypatch) as t:
        person = await t.somebody()
        one, other = await person.new_page(), await person.new_page()
        await one.goto(t.url("a.test", "/secret"))
        await sign_in(one)
        await one.wait_for_url(t.url("a.test", "/secret"))
        await other.goto(t.url("b.test"))
        assert await other.evaluate(SOCKET, f"wss://b.test:{t.port}/ws")
        began = time.monotonic()
        await log_out(one, t, "a.test")
        assert await other.evaluate("window.gone") == 1008
        assert time.monotonic() - began < 4.0  # the pages' own time is in it
        await one.go_back()
        await one.go_back()
        await expect(one.locator("#who")).to_have_count(0)
        await other.reload()
        assert other.url.startswith(t.url("login.test", "/.authproxy/login"))


async def enter(t: Town) -> Page:
    """Somebody before a form."""
    page = await (await t.somebody()).new_page()
    await page.goto(t.url("a.test", "/write"))
    await sign_in(page)
    await page.wait_for_url(t.url("a.test", "/write"))
    return page


async def send_too_late(t: Town, page: Page) -> None:
    """Fill in the form and send it with a session that has expired; log in again, to the page that offers it."""
    await page.goto(t.url("a.test", "/write"))
    await page.get_by_label("Text").fill("long, and dear")
    await expire(t.proxy)
    await page.get_by_role("button", name="Send").click()
    await at_login(t, page)
    await sign_in(page)
    await expect(page.get_by_role("heading", name="Send your form?")).to_be_visible()


async def at_login(t: Town, page: Page) -> None:
    """The page is the login's, at the portal."""
    await page.wait_for_url(lambda url: url.startswith(t.url("login.test", "/.authproxy/login")))


async def test_a_form_survives_a_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What somebody wrote arrives once, at its own address, after the login on another site."""
    async with town(tmp_path, monkeypatch) as t:
        page = await enter(t)
        await send_too_late(t, page)
        await expect(page.get_by_text(t.url("a.test", "/send"))).to_be_visible()
        await page.get_by_role("button", name="Send it now").click()
        await page.wait_for_url(t.url("a.test", "/send"))
        await expect(page.locator("#who")).to_have_text("text=long%2C+and+dear")
        await page.goto(t.url("a.test", "/.authproxy/resend"))
        await expect(page.get_by_role("heading", name="Nothing to send")).to_be_visible()


async def test_a_form_that_was_refused_is_kept_and_sent_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a limit, then by a backend that is away: the page says so each time; once both are over it arrives, byte for byte, once."""
    place = str(tmp_path / "b.sock")
    sent = ROUTE | {"name": "sent", "match": {"hosts": ["a.test"], "paths": ["/send"]}}
    limited = sent | {"rate_limits": [{"limit": "1/hour", "per": "subject"}]}
    upstream = {"servers": [f"unix:{place}"]}
    async with town(tmp_path, monkeypatch, routes=(ROUTE, limited), upstream=upstream) as t:
        serve = t.proxy.backend.serve
        with closing(await asyncio.start_unix_server(serve, place)):
            page = await enter(t)
            await page.get_by_label("Text").fill("first")
            await page.get_by_role("button", name="Send").click()
            await expect(page.locator("#who")).to_have_text("text=first")
            await send_too_late(t, page)
            await refused(page, "Too many requests")
            await page.get_by_role("link", name="Back to the form").click()
            await lift(t, ROUTE, sent)
        await refused(page, "The service behind could not be reached")
        with closing(await asyncio.start_unix_server(serve, place)):
            await page.reload()  # it sends once more what the button did
            await expect(page.locator("#who")).to_have_text("text=long%2C+and+dear")
            await page.reload()
            await expect(page.get_by_role("heading", name="Nothing to send")).to_be_visible()
        posted = [one.body for one in t.proxy.backend.seen if one.head.startswith(b"POST")]
        assert posted == [b"text=first", b"text=long%2C+and+dear"]


async def refused(page: Page, why: str) -> None:
    """Press the button that sends what was kept: it was not sent, for this reason."""
    await page.get_by_role("button", name="Send it now").click()
    await expect(page.get_by_role("heading", name="Your form was not sent")).to_be_visible()
    await expect(page.get_by_text(why, exact=True)).to_be_visible()


async def lift(t: Town, *routes: object) -> None:
    """Other routes take effect."""
    before = t.proxy.worker._runtime
    file = t.proxy.loaded.folder / "policies" / "routes.yaml"
    file.write_text(json.dumps({"routes": routes}))
    t.proxy.worker.reload()
    await until(lambda: t.proxy.worker._runtime is not before)


async def test_what_answers_a_button_may_send_the_browser_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To another site: the page that a login leads to, a backend that was sent the kept form, the login where the session has expired."""
    place: list[str] = []

    async def sending_on(request: Message, link: Link) -> None:
        if not request.head.startswith((b"POST", b"GET /old")):
            await application(request, link)
            return
        await link.body(request.head)
        head = f"HTTP/1.1 303 See Other\r\nLocation: {place[0]}\r\nContent-Length: 0\r\n\r\n"
        await link.send(head.encode())

    async with town(tmp_path, monkeypatch, play=sending_on) as t:
        place.append(t.url("b.test", "/thanks"))
        page = await (await t.somebody()).new_page()
        await page.goto(t.url("a.test", "/old"))
        await sign_in(page)
        await page.wait_for_url(place[0])
        await send_too_late(t, page)
        for name in ("Send it now", "Do not send it"):
            await expire(t.proxy)
            await page.get_by_role("button", name=name).click()
            await at_login(t, page)
            await sign_in(page)
            await expect(page.get_by_role("heading", name="Send your form?")).to_be_visible()
        await page.get_by_role("button", name="Send it now").click()
        await page.wait_for_url(place[0])
        await enter(t)  # with another browser
        await page.goto(t.url("a.test", "/.authproxy/userinfo"))
        await expire(t.proxy)
        await page.get_by_role("button", name="End all others").click()
        await at_login(t, page)
