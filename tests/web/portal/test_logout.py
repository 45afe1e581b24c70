"""The end of a session: by our own form alone, at once, and for this session alone."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.web.portal.browser import COOKIE, NAVIGATION, Browser, Form, office
from tests.web.portal.sso import PEOPLE, PORTAL, Person, company, sign_in_at


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


async def test_a_logout_goes_on_at_the_provider() -> None:
    """The browser is sent there after our own logout."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        await ann.sign_in()
        page = await ann.go("/.authproxy/logout")
        form = Form(page.body.decode())
        answer = await ann.go(form.action, "POST", form=form.fields)
        parts = urlsplit(str(answer.field("location")))
        assert (answer.status, f"{parts.scheme}://{parts.netloc}{parts.path}") == (
            303,
            f"{provider.url}/end",
        )
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert asked["post_logout_redirect_uri"] == f"{PORTAL}/.authproxy/logout"
        assert (len(asked["state"]), asked["id_token_hint"].count(".")) == (43, 2)
        assert (COOKIE in ann.cookies, await ann.may()) == (False, 401)


async def test_a_logout_ends_one_login_on_every_host() -> None:
    """The sessions that one browser has by one login at the provider end together; another browser's goes on."""
    routes = [{**PEOPLE, "match": {"hosts": ["a.test", "b.test"], "paths": ["/staff/**"]}}]
    async with company(routes=routes) as (p, provider):
        provider.claims = {"sid": "s1"}
        portal = Person(p, provider)
        one, two = [await sign_in_at(f"https://{host}.test", portal) for host in "ab"]
        provider.claims = {"sid": "s2"}
        other = await sign_in_at("https://a.test", Person(p, provider))
        form = Form((await one.go("/.authproxy/logout")).body.decode())
        assert (await one.go(form.action, "POST", form=form.fields)).status == 303
        assert [await person.may() for person in (one, two, other)] == [401, 401, 200]


async def test_a_logout_needs_no_provider() -> None:
    """While it is away, or where it has no logout of its own, ours is done all the same."""
    async with company() as (p, provider):
        provider.metadata = {"end_session_endpoint": None}
        ann = Person(p, provider)
        await ann.sign_in()
        form = Form((await ann.go("/.authproxy/logout")).body.decode())
        answer = await ann.go(form.action, "POST", form=form.fields)
        assert answer.field("location") == "/.authproxy/logout"
        assert await ann.may() == 401


async def test_a_logout_clears_what_the_browser_kept(tmp_path: Path) -> None:
    """The back button must not show what a backend let the browser keep."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        form = Form((await browser.go("/.authproxy/logout")).body.decode())
        answer = await browser.go(form.action, "POST", form=form.fields)
        assert answer.field("clear-site-data") == '"cache"'
