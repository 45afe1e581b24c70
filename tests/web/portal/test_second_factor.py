"""The second step of a login: nobody is in before it, and no code opens anything twice, late, elsewhere or for others."""

import time
from pathlib import Path
from urllib.parse import urlsplit

import pyotp
import pytest

from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.web.portal import tries
from tests.playbook import OPEN
from tests.web.portal.browser import COOKIE, STAFF, Browser, Form, office, users_text
from tests.web.portal.hosts import Person, street
from tests.wire import Answer, until

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
TOTP = f", totp: {SECRET}"
SURE = STAFF | {"name": "sure", "match": {"paths": ["/sure/**"]}, "second_factor": True}


def code(ahead: int = 0) -> str:
    """What ann's device shows."""
    return pyotp.TOTP(SECRET).at(int(time.time()) + 30 * ahead)


async def answered(browser: Browser, page: Answer, code: str, **changes: str) -> Answer:
    """Send the code that a page asks for."""
    form = Form(page.body.decode())
    return await browser.go(form.action, "POST", form=form.fields | {"code": code} | changes)


@pytest.fixture
def users(tmp_path: Path) -> Path:
    """Ann has a second factor, bob has none."""
    (tmp_path / "users.yaml").write_text(users_text(ann=TOTP))
    return tmp_path


async def test_a_login_of_two_steps(users: Path) -> None:
    """After the password a page asks for the code, and nobody is in before it; then the backend's policy knows of both."""
    async with office(users, routes=(OPEN, STAFF, SURE)) as p:
        browser = Browser(p)
        page = await browser.log_in(wanted="/sure/x?a=1")
        assert (page.status, COOKIE in browser.cookies, await browser.may()) == (200, False, 401)
        text = page.body.decode()
        assert 'autocomplete="one-time-code"' in text
        assert "ann" not in text
        done = await answered(browser, page, code())
        assert (done.status, done.field("location")) == (303, "/sure/x?a=1")
        assert (await browser.go("/sure/x")).status == 200
        session = next(iter(await p.runtime.sessions.every(9e8)))
        assert session.data["amr"] == ["pwd", "otp"]


async def test_a_route_may_want_a_second_factor(users: Path) -> None:
    """Who logged in by the password alone is forbidden there, and not elsewhere."""
    async with office(users, routes=(OPEN, STAFF, SURE)) as p:
        browser = Browser(p)
        await browser.log_in("bob")
        assert await browser.may() == 200
        answer = await browser.go("/sure/x", headers=[("Accept", "application/json")])
        assert (answer.status, answer.code, answer.seen) == (403, "forbidden", [])
        assert p.log()[-1]["reason"] == "second_factor"


async def test_the_wrong_code_opens_nothing(users: Path) -> None:
    """The page says no more than that; the right one still does, later."""
    async with office(users) as p:
        browser = Browser(p)
        page = await browser.log_in()
        for wrong in ("", "000000", code(5), code() + code(), "x" * 5000):
            page = await answered(browser, page, wrong)
            assert (page.status, COOKIE in browser.cookies) == (401, False)
            assert "is not right" in page.body.decode()
        assert [line["reason"] for line in p.log()][-1] == "code"
        assert (await answered(browser, page, code())).status == 303


async def test_a_code_is_good_once(users: Path) -> None:
    """For nobody a second time, neither in the same step nor in another login."""
    async with office(users) as p:
        used, browser = code(), Browser(p)
        page = await browser.log_in()
        assert (await answered(browser, page, used)).status == 303
        assert (
            urlsplit((await answered(browser, page, used)).field("location") or "")
        ).path == "/.authproxy/login"
        other = Browser(p)
        assert (await answered(other, await other.log_in(), used)).status == 401
        assert (await answered(other, await other.log_in(), code(1))).status == 303


async def test_a_step_is_of_one_browser(users: Path) -> None:
    """Another one begins anew, whatever it knows; so does one without a form of ours."""
    async with office(users) as p:
        browser, thief = Browser(p), Browser(p)
        page = await browser.log_in()
        form = Form(page.body.decode())
        await thief.go("/.authproxy/login")
        token = Form((await thief.go("/.authproxy/login")).body.decode()).fields["csrf"]
        for who, changes in (
            (thief, {"csrf": token}),
            (thief, {}),
            (browser, {"csrf": token}),
            (browser, {"step": "x"}),
        ):
            fields = form.fields | {"code": code()} | changes
            answer = await who.go("/.authproxy/code", "POST", form=fields)
            assert (answer.field("location") or "").startswith("/.authproxy/login?next="), changes
            assert COOKIE not in who.cookies
        crossed = [("Sec-Fetch-Site", "cross-site")]
        refused = await browser.go("/.authproxy/code", "POST", headers=crossed, form=form.fields)
        assert refused.code == "cross_site"
        assert (await browser.go("/.authproxy/code")).field("location") == "/.authproxy/login"


async def test_a_step_is_over_after_some_minutes(
    users: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then the password is asked for again."""
    monkeypatch.setattr("authproxy.authn.second_factor.SECONDS", -1.0)
    async with office(users) as p:
        browser = Browser(p)
        answer = await answered(browser, await browser.log_in(), code())
        assert (answer.field("location") or "").startswith("/.authproxy/login?next=/staff/x")


async def test_codes_are_bounded_by_account(users: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one step or in many; a right code is not looked at then."""
    limits = [RouteLimit("account", parse_rate("3/hour"), "account")]
    monkeypatch.setattr(tries, "ACCOUNT_LIMITS", limits)
    async with office(users, failed_authentications="1000/minute") as p:
        browser = Browser(p)
        page = await browser.log_in()
        for status in (401, 401, 401, 429):
            page = await answered(browser, page, "000000")
            assert page.status == status
        assert (await answered(browser, page, code())).status == 429
        assert (await browser.log_in()).status == 429


async def test_who_changes_between_the_steps_begins_anew(users: Path) -> None:
    """Another password or another device: what was right a moment ago is not believed any more."""
    async with office(users) as p:
        browser = Browser(p)
        page = await browser.log_in()
        before = p.worker._runtime
        (users / "users.yaml").write_text(users_text(ann=f"{TOTP}, changed: 2026-01-01T00:00:00Z"))
        p.worker.reload()
        await until(lambda: p.worker._runtime is not before)
        answer = await answered(browser, page, code())
        assert (answer.status, COOKIE in browser.cookies) == (303, False)


async def test_enrolling_ends_sessions_from_before(tmp_path: Path) -> None:
    """They knew of no second factor."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        before = p.worker._runtime
        (tmp_path / "users.yaml").write_text(users_text(ann=TOTP))
        p.worker.reload()
        await until(lambda: p.worker._runtime is not before)
        assert await browser.may() == 401


async def test_the_second_step_leads_to_other_hosts_too(users: Path) -> None:
    """At the portal; it ends at the host that asked."""
    async with street(users) as p:
        person = Person(p)
        where, page = await person.log_in("https://a.test/x")
        assert urlsplit(where).path == "/.authproxy/login"
        where, page = await person.fill_in(where, page, code=code())
        assert (where, page.status) == ("https://a.test/x", 200)
