"""The end of a session: by our own form alone, at once, and for this session alone."""

from pathlib import Path

from tests.web.portal.browser import COOKIE, NAVIGATION, Browser, Form, office


async def test_a_logout_ends_this_session_and_no_other(tmp_path: Path) -> None:
    """The cookie is taken back with the flags it was given with, or no browser would believe it; the id is worth nothing."""
    async with office(tmp_path) as p:
        browser, other = Browser(p), Browser(p)
        await browser.log_in()
        await other.log_in()
        old = browser.cookies[COOKIE]
        form = Form((await browser.go("/.authproxy/logout")).body.decode())
        answer = await browser.go(form.action, "POST", form=form.fields)
        assert (answer.status, answer.field("location")) == (303, "/.authproxy/logout")
        assert answer.all("Set-Cookie") == [
            f"{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
        ]
        assert COOKIE not in browser.cookies
        browser.cookies[COOKIE] = old
        assert (await browser.may(), await other.may()) == (401, 200)
        assert "signed out" in (await Browser(p).go("/.authproxy/logout")).body.decode()
        again = await browser.go(form.action, "POST", form=form.fields)
        assert again.status == 303


async def test_nothing_but_our_form_ends_a_session(tmp_path: Path) -> None:
    """A link does not, another site's form does not, and neither does one without this session's token."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        await browser.go("/.authproxy/logout")
        form = Form((await browser.go("/.authproxy/logout")).body.decode())
        crossed = [(n, "cross-site" if n == "Sec-Fetch-Site" else v) for n, v in NAVIGATION]
        assert (await browser.go(form.action, "POST", crossed, form.fields)).status == 403
        for token in ("", "x" * 43):
            assert (await browser.go(form.action, "POST", form={"csrf": token})).status == 403
        assert await browser.may() == 200
