"""Every page as people see it: in light and dark and on a phone, readable (WCAG AA), labelled, and within the screen.

With AUTHPROXY_SCREENSHOTS=docs/portal the pictures of the documentation are made anew.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.end_to_end.chromium import ROUTE, Town, sign_in, town
from tests.end_to_end.test_browser import SECRET
from tests.web.portal.browser import users_text
from tests.web.portal.test_resend import expire

DESK, PHONE = {"width": 720, "height": 640}, {"width": 360, "height": 640}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESK, "color_scheme": "light"},
    "dark": {"viewport": DESK, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}
# Light as it is seen, and the contrast of two colours (WCAG 2.2, relative luminance); what is behind an element.
COLOURS = """
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parts(c); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; const p = parts(c);
    if (p.length < 4 || p[3] === 1) return c; } return 'rgb(255,255,255)'; };
  const contrast = (one, other) => { const [a, b] = [light(one), light(other)].sort((x, y) => y - x); return (a + 0.05) / (b + 0.05); };
"""
# The least contrast of any text on what is behind it (1.4.3), what has no name, and whether the page is too wide.
MEASURE = f"""() => {{{COLOURS}
  let least = 99, worst = '';
  for (const e of document.querySelectorAll('body *')) {{
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const ratio = contrast(getComputedStyle(e).color, behind(e));
    if (ratio < least) {{ least = ratio; worst = e.textContent.trim().slice(0, 40); }}
  }}
  const nameless = [...document.querySelectorAll('input:not([type=hidden]),textarea')].filter(e => !e.labels.length).length;
  return {{least, worst, nameless, wide: document.documentElement.scrollWidth > innerWidth, headings: document.querySelectorAll('h1').length}};
}}"""
# What has the focus: how wide its outline is, and how much it stands out (2.4.7, 1.4.11); nothing where nothing has it.
FOCUSED = f"""() => {{{COLOURS}
  const e = document.activeElement, style = getComputedStyle(e);
  if (e === document.body) return null;
  return [style.outlineStyle === 'none' ? 0 : parseFloat(style.outlineWidth), contrast(style.outlineColor, behind(e.parentElement))];
}}"""


async def look_at(page: Page, name: str, look: str) -> None:
    """Measure the page, and keep its picture where that is wished for."""
    found = await page.evaluate(MEASURE)
    assert found["least"] >= 4.5, (name, look, found)
    assert (found["nameless"], found["wide"], found["headings"]) == (0, False, 1), (
        name,
        look,
        found,
    )
    folder = os.environ.get("AUTHPROXY_SCREENSHOTS")
    if folder:
        await page.screenshot(path=Path(folder) / f"{name}-{look}.png", full_page=True)
    await walk(page, name)


async def walk(page: Page, name: str) -> None:
    """Everything that can be pressed or filled in is met by the keyboard, and shows that it has the focus."""
    most = await page.locator("a, button, input:not([type=hidden])").count()
    for _ in range(most):
        await page.keyboard.press("Tab")
        found = await page.evaluate(FOCUSED)
        if found is not None:  # the browser's own frame, before the first of the page
            assert (found[0] >= 2, found[1] >= 3) == (True, True), (name, found)


async def tour(t: Town, person: BrowserContext, look: str) -> None:
    """Every page, in the order in which somebody meets them."""
    page = await person.new_page()
    await page.goto(t.url("a.test", "/reports/2026?quarter=3"))
    await look_at(page, "login", look)
    await page.get_by_label("Username").fill("ann")
    await page.get_by_label("Password").fill("wrong")
    await page.keyboard.press("Enter")
    await page.get_by_role("alert").wait_for()
    await look_at(page, "login-wrong", look)
    await sign_in(page)
    await page.get_by_label("Code of six digits").wait_for()
    await look_at(page, "code", look)
    await page.goto(t.url("a.test", "/.authproxy/ticket?ticket=x"))
    await look_at(page, "over", look)
    await page.goto(t.url("a.test", "/write"))
    await sign_in(page, "bob")
    await page.wait_for_url(t.url("a.test", "/write"))
    await page.goto(t.url("a.test", "/.authproxy/userinfo"))
    await look_at(page, "userinfo", look)
    await page.goto(t.url("a.test", "/.authproxy/resend"))
    await look_at(page, "nothing-kept", look)
    await page.goto(t.url("a.test", "/.authproxy/logout"))
    await look_at(page, "logout", look)
    await page.goto(t.url("a.test", "/write"))
    await page.get_by_label("Text").fill("x")
    await expire(t.proxy)
    await page.get_by_role("button", name="Send").click()
    await sign_in(page, "bob")
    await page.get_by_role("button", name="Send it now").wait_for()
    await look_at(page, "resend", look)
    await page.goto(t.url("a.test", "/.authproxy/logout"))
    await page.get_by_role("button", name="Sign out").click()
    await page.get_by_role("heading", name="You are signed out").wait_for()
    await look_at(page, "logged-out", look)


async def chooser(t: Town, person: BrowserContext, look: str) -> None:
    """Several ways in, one of which is away; then what is closed to whoever is in, and what is not there."""
    page = await person.new_page()
    await page.goto(t.url("a.test", "/write"))
    await look_at(page, "chooser", look)
    await page.get_by_role("link", name="Continue with Example University").click()
    await page.get_by_role("alert").wait_for()
    await look_at(page, "chooser-away", look)
    await sign_in(page, "bob")
    await page.wait_for_url(t.url("a.test", "/write"))
    await not_sent(t, page)
    await look_at(page, "not-sent", look)
    await page.goto(t.url("a.test", "/closed"))
    await look_at(page, "forbidden", look)
    await page.get_by_role("link", name="See who you are").click()
    await page.get_by_role("heading", name="Who you are here").wait_for()
    await page.goto(t.url("login.test", "/nothing"))
    await look_at(page, "not-found", look)


async def not_sent(t: Town, page: Page) -> None:
    """Once more what may be sent once, with a session that expires in between: what was kept is refused when it is sent."""
    for expired in (False, True):
        await page.goto(t.url("a.test", "/write"))
        await page.get_by_label("Text").fill("x")
        if expired:
            await expire(t.proxy)
        await page.get_by_role("button", name="Send").click()
        await page.wait_for_url(t.url("login.test" if expired else "a.test", "/**"))
    await sign_in(page, "bob")
    await page.get_by_role("button", name="Send it now").click()
    await page.get_by_text("Your form was not sent").wait_for()


async def test_pages_are_fit_for_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All texts have the contrast of AA, every field has a label, what has the focus shows it, nothing is wider than the screen."""
    groups = ", groups: [engineering, on-call], email: bob@example.com, name: Bob Builder"
    (tmp_path / "users.yaml").write_text(users_text(ann=f", totp: {SECRET}", bob=groups))
    async with town(tmp_path, monkeypatch) as t:
        for look, looks in LOOKS.items():
            await tour(t, await t.somebody(**looks), look)


async def test_the_chooser_is_fit_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same of the page with every way in, and of refusals."""
    provider = {"type": "oidc", "issuer": "http://127.0.0.1:9", "client_id": "x", "client_authentication": "none"}  # fmt: skip
    titles = {"acme": "Acme Inc.", "uni": "Example University"}
    more = {name: provider | {"title": title} for name, title in titles.items()}
    closed = ROUTE | {"name": "closed", "match": {"hosts": ["a.test"], "paths": ["/closed"]}, "allow": [{"groups": ["board"]}]}  # fmt: skip
    sent = ROUTE | {"name": "sent", "match": {"hosts": ["a.test"], "paths": ["/send"]}, "rate_limits": [{"limit": "1/hour", "per": "subject"}]}  # fmt: skip
    async with town(tmp_path, monkeypatch, more=more, routes=(ROUTE, closed, sent)) as t:
        for look, looks in LOOKS.items():
            await chooser(t, await t.somebody(**looks), look)
