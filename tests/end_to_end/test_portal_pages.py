"""Every page as people see it: in light and dark and on a phone, readable (WCAG AA), labelled, and within the screen.

With AUTHPROXY_SCREENSHOTS=docs/portal the pictures of the documentation are made anew.
"""

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import BrowserContext, Page

from tests.end_to_end.chromium import Town, sign_in, town
from tests.end_to_end.test_browser import SECRET
from tests.web.portal.browser import users_text
from tests.web.portal.test_resend import expire

DESK, PHONE = {"width": 720, "height": 640}, {"width": 360, "height": 640}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"viewport": DESK, "color_scheme": "light"},
    "dark": {"viewport": DESK, "color_scheme": "dark"},
    "phone": {"viewport": PHONE, "color_scheme": "light"},
}
# The least contrast of any text on what is behind it (WCAG 2.2, 1.4.3), what has no name, and whether the page is too wide.
MEASURE = """() => {
  const channel = v => (v /= 255) <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4;
  const parts = c => c.match(/[\\d.]+/g).map(Number);
  const light = c => { const [r, g, b] = parts(c); return 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b); };
  const behind = e => { for (; e; e = e.parentElement) { const c = getComputedStyle(e).backgroundColor; const p = parts(c);
    if (p.length < 4 || p[3] === 1) return c; } return 'rgb(255,255,255)'; };
  let least = 99, worst = '';
  for (const e of document.querySelectorAll('body *')) {
    if (![...e.childNodes].some(n => n.nodeType === 3 && n.data.trim())) continue;
    const [a, b] = [light(getComputedStyle(e).color), light(behind(e))].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    if (ratio < least) { least = ratio; worst = e.textContent.trim().slice(0, 40); }
  }
  const nameless = [...document.querySelectorAll('input:not([type=hidden]),textarea')].filter(e => !e.labels.length).length;
  return {least, worst, nameless, wide: document.documentElement.scrollWidth > innerWidth, headings: document.querySelectorAll('h1').length};
}"""


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


@pytest.mark.parametrize("look", LOOKS)
async def test_pages_are_fit_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, look: str
) -> None:
    """All texts have the contrast of AA, every field has a label, nothing is wider than the screen."""
    groups = ", groups: [engineering, on-call], email: bob@example.com, name: Bob Builder"
    (tmp_path / "users.yaml").write_text(users_text(ann=f", totp: {SECRET}", bob=groups))
    async with town(tmp_path, monkeypatch) as t:
        await tour(t, await t.somebody(**LOOKS[look]), look)
