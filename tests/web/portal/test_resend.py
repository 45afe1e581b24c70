"""A form that outlives its session: kept for who sent it, sent once, to where it was going, by whoever pressed the button."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.sessions import KIND as SESSIONS
from authproxy.authn.sessions import _dump
from authproxy.web.portal.kept_forms import BYTES_MOST, KIND
from tests.playbook import GUARDED, Proxy
from tests.web.portal.browser import COOKIE, NAVIGATION, SCRIPT, STAFF, Browser, Form, office
from tests.web.portal.hosts import HOSTS, Person, street
from tests.wire import Answer, Link, Message

KEPT = f"{COOKIE}-kept"
ROUTE = STAFF | {"preserve_post": True}
DATA = {"text": "a b\r\nc\u00e4", "more": ""}
MULTIPART = (
    "multipart/form-data; boundary=xx",
    b'--xx\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n\x00\xff\r\n--xx--\r\n',
)


@asynccontextmanager
async def desk(folder: Path, **config: Any) -> AsyncIterator[Proxy]:
    """An office with a route that keeps forms."""
    async with office(folder, **{"routes": (GUARDED, ROUTE), **config}) as proxy:
        yield proxy


async def expire(p: Proxy) -> None:
    """Let every session be one that was not used for too long."""
    for one in await p.runtime.sessions.every(9e8):
        old = _dump(one, seen=one.seen - 4000.0)
        await p.runtime.records.put(SESSIONS, one.key, old, one.created + 90_000.0)


async def refused(
    p: Proxy, browser: Browser, target: str = "/staff/send?a=1", **more: Any
) -> Answer:
    """Send a form with a session that has expired."""
    await expire(p)
    return await browser.go(target, "POST", **({"form": DATA} | more))


OFFERED = ("Referer", "http://proxy.test/.authproxy/resend")


async def press(browser: Browser, form: Form, *headers: tuple[str, str]) -> Answer:
    """The button of the page that offers what was kept."""
    sent = [*NAVIGATION, OFFERED, *headers]
    return await browser.go(form.action, "POST", headers=sent, form=form.fields)


async def waiting(p: Proxy, **more: Any) -> tuple[Browser, Form]:
    """A browser whose form was kept, logged in again, with the button before it."""
    browser = Browser(p)
    await browser.log_in()
    await refused(p, browser, **more)
    await browser.log_in()
    return browser, await offered(browser)


async def offered(browser: Browser) -> Form:
    """The form of the page that offers what was kept."""
    page = await browser.go("/.authproxy/resend")
    assert "Send it now" in page.body.decode()
    return Form(page.body.decode())


@pytest.mark.parametrize("more", [{}, {"form": None, "sent": MULTIPART}])
async def test_a_form_survives_a_login(tmp_path: Path, more: dict[str, Any]) -> None:
    """It is kept, the login leads to a page that shows where it goes, and a button sends its very bytes."""
    async with desk(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        answer = await refused(p, browser, **more)
        assert (answer.status, answer.seen) == (303, [])
        assert answer.field("location") == "/.authproxy/login?next=/.authproxy/resend"
        assert (await browser.log_in(wanted="/.authproxy/resend")).field(
            "location"
        ) == "/.authproxy/resend"
        page = await browser.go("/.authproxy/resend")
        assert "http://proxy.test/staff/send?a=1" in page.body.decode()
        form = Form(page.body.decode())
        assert form.action == "/staff/send?a=1"
        done = await browser.go(form.action, "POST", form=form.fields)
        (seen,) = done.seen
        kind, body = more.get(
            "sent", ("application/x-www-form-urlencoded", b"text=a+b%0D%0Ac%C3%A4&more=")
        )
        assert done.status == 200
        assert seen.head.startswith(b"POST /staff/send?a=1 HTTP/1.1\r\n")
        assert (seen.field("content-type"), seen.body) == (kind, body)
        assert (seen.field("x-forwarded-user"), seen.field("cookie")) == ("ann", None)


async def test_it_is_sent_once(tmp_path: Path) -> None:
    """Pressed twice, or by the back button: a page says so, and nothing reaches the backend."""
    async with desk(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        await refused(p, browser)
        await browser.log_in()
        form = await offered(browser)
        assert len((await browser.go(form.action, "POST", form=form.fields)).seen) == 1
        again = await browser.go(form.action, "POST", form=form.fields)
        assert (again.status, again.seen, again.field("location")) == (
            303,
            [],
            "/.authproxy/resend",
        )
        assert "Nothing to send" in (await browser.go("/.authproxy/resend")).body.decode()


async def test_it_is_sent_to_where_it_was_going(tmp_path: Path) -> None:
    """The token means nothing at another address, and nothing that another made up is taken for it."""
    async with desk(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        await refused(p, browser)
        await browser.log_in()
        form = await offered(browser)
        for target in ("/staff/other", "/staff/send", "/staff/send?a=2"):
            elsewhere = await browser.go(target, "POST", form=form.fields)
            assert (elsewhere.status, elsewhere.seen) == (303, [])
        made_up = await browser.go(form.action, "POST", form={"authproxy-kept": "x" * 43})
        assert made_up.seen[0].body == b"authproxy-kept=" + b"x" * 43
        plain = await browser.go(form.action, "POST", form={"a": "b"})
        assert plain.seen[0].body == b"a=b"
        crossed = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "navigate")]
        forged = await browser.go(form.action, "POST", headers=crossed, form=form.fields)
        assert (forged.status, forged.seen, p.log()[-1]["code"]) == (403, [], "cross_site")
        assert len((await browser.go(form.action, "POST", form=form.fields)).seen) == 1


async def test_it_is_of_who_sent_it(tmp_path: Path) -> None:
    """Another person at the same browser is not offered it and cannot send it; another browser has nothing."""
    async with desk(tmp_path) as p:
        browser, other = Browser(p), Browser(p)
        await browser.log_in()
        await other.log_in()
        await refused(p, browser)
        await browser.log_in("bob")
        assert "Nothing to send" in (await browser.go("/.authproxy/resend")).body.decode()
        await other.log_in()
        assert "Nothing to send" in (await other.go("/.authproxy/resend")).body.decode()
        del browser.cookies[COOKIE]
        await browser.log_in()
        form = await offered(browser)
        del browser.cookies[COOKIE]
        await browser.log_in("bob")
        sent = await browser.go(form.action, "POST", form=form.fields)
        assert (sent.status, sent.seen) == (303, [])


async def test_nobody_else_can_read_it(tmp_path: Path) -> None:
    """What is kept is encrypted by what the browser alone has; and it is over after some minutes."""
    async with desk(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        answer = await refused(p, browser)
        (record,) = await p.runtime.records.since(KIND, 0, 0.0)
        assert b"text" not in record.value
        assert browser.cookies[KEPT].encode() not in record.key + record.value
        (line,) = [c for c in answer.all("Set-Cookie") if c.startswith(KEPT)]
        assert line.endswith("; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=600")
        assert record.expiry - p.log()[-1]["seconds"] > 0
        await browser.log_in()
        browser.cookies[KEPT] = "x" * 43
        assert "Nothing to send" in (await browser.go("/.authproxy/resend")).body.decode()


async def test_who_does_not_want_it_drops_it(tmp_path: Path) -> None:
    """By a form of ours only."""
    async with desk(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        await refused(p, browser)
        await browser.log_in()
        await offered(browser)
        assert (await browser.go("/.authproxy/resend", "POST", form={"csrf": "x"})).status == 403
        page = (await browser.go("/.authproxy/resend")).body.decode()
        csrf = page.rpartition('name="csrf" value="')[2].partition('"')[0]
        dropped = await browser.go("/.authproxy/resend", "POST", form={"csrf": csrf})
        assert (dropped.status, KEPT in browser.cookies) == (303, False)
        assert await p.runtime.records.since(KIND, 0, 0.0) == []
        assert (await Browser(p).go("/.authproxy/resend")).field(
            "location"
        ) == "/.authproxy/login?next=/.authproxy/resend"


@pytest.mark.parametrize(
    "more",
    [
        {"headers": SCRIPT}, {"headers": [("Accept", "text/html")]},
        {"headers": [*NAVIGATION[:2], ("Sec-Fetch-Site", "cross-site")]}, {"headers": [*NAVIGATION[:2], ("Sec-Fetch-Site", "same-site")]},
        {"form": None, "sent": ("application/json", b"{}")}, {"form": None, "sent": ("text/plain", b"a=b")},
        {"form": {"a": "b" * BYTES_MOST}}, {"headers": [*NAVIGATION, ("Content-Encoding", "gzip")]},
        {"target": "/staff/" + "x" * 2100},
    ],
)  # fmt: skip
async def test_what_is_no_form_of_ours_is_not_kept(tmp_path: Path, more: dict[str, Any]) -> None:
    """Scripts, other sites, other kinds, too much: a 401, and nothing is written."""
    async with desk(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        answer = await refused(p, browser, **more)
        assert (answer.status, answer.seen, KEPT in browser.cookies) == (401, [], False)
        assert await p.runtime.records.since(KIND, 0, 0.0) == []


async def test_only_expired_sessions_have_forms_kept(tmp_path: Path) -> None:
    """Nobody without one fills our disk; neither does somebody with many; nor is a form kept where the route does not say so."""
    async with desk(tmp_path) as p:
        assert (await Browser(p).go("/staff/send", "POST", form=DATA)).status == 401
        stranger = Browser(p)
        stranger.cookies[COOKIE] = "x" * 43
        assert (await stranger.go("/staff/send", "POST", form=DATA)).status == 401
        browser = Browser(p)
        await browser.log_in()
        statuses = [(await refused(p, browser)).status for _ in range(11)]
        assert statuses == [303] * 10 + [401]
    async with office(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in()
        assert (await refused(p, browser)).status == 401


async def test_policies_hold_for_what_is_sent_again(tmp_path: Path) -> None:
    """It goes the way of every request: who may not any more is forbidden, and limits count it."""
    route = ROUTE | {"deny": [{"when": 'request.headers["content-type"].startsWith("multipart/")'}]}
    async with desk(tmp_path, routes=(GUARDED, route)) as p:
        browser = Browser(p)
        await browser.log_in()
        await refused(p, browser, form=None, sent=MULTIPART)
        await browser.log_in()
        form = await offered(browser)
        sent = await browser.go(form.action, "POST", form=form.fields)
        assert (sent.status, sent.seen) == (403, [])


async def test_a_limit_does_not_lose_it(tmp_path: Path) -> None:
    """Refused by a limit, before the login is looked at or after: the page leads back to the form, which is then sent, once."""
    limits = [{"limit": "1/second", "per": per} for per in ("subject", "address")]
    for limit in limits:
        async with desk(tmp_path, routes=(GUARDED, ROUTE | {"rate_limits": [limit]})) as p:
            browser, form = await waiting(p)
            statuses, answer = [200], await browser.go("/staff/x")
            while statuses[-1] == 200:  # a window may have just begun
                answer = await press(browser, form)
                statuses.append(answer.status)
                if answer.seen:
                    browser, form = await waiting(p)
            assert (statuses[-1], answer.seen) == (429, [])
            assert 'href="/.authproxy/resend"' in answer.body.decode()
            assert "still kept" in answer.body.decode()
            assert answer.field("retry-after") is not None
            assert (p.log()[-1]["code"], p.log()[-1]["status"]) == ("rate_limited", 429)
            form = await offered(browser)
            while answer.status == 429:
                await asyncio.sleep(0.1)  # the limit goes by the clock of the wall
                answer = await press(browser, form)
            assert (answer.status, answer.seen[0].body) == (200, b"text=a+b%0D%0Ac%C3%A4&more=")
            assert "Nothing to send" in (await browser.go("/.authproxy/resend")).body.decode()


async def test_a_backend_that_is_away_does_not_lose_it(tmp_path: Path) -> None:
    """Nothing is spent before there is a connection; once the backend is back the form is sent, and then it is gone."""
    place = str(tmp_path / "b.sock")
    async with desk(tmp_path, upstream={"servers": [f"unix:{place}"]}) as p:
        browser, form = await waiting(p)
        for _ in range(2):
            answer = await press(browser, form)
            assert (answer.status, "still kept" in answer.body.decode()) == (502, True)
            assert f"<code>{p.log()[-1]['request_id']}</code>" in answer.body.decode()
            form = await offered(browser)
        server = await asyncio.start_unix_server(p.backend.serve, place)
        assert len((await press(browser, form)).seen) == 1
        assert (await press(browser, form)).seen == []
        assert "Nothing to send" in (await browser.go("/.authproxy/resend")).body.decode()
        server.close()


async def test_what_a_backend_got_is_not_offered_again(tmp_path: Path) -> None:
    """It may have done what the form says, also where it breaks off before it answers."""

    async def break_off(request: Message, link: Link) -> None:
        await link.body(request.head)
        link.close()

    async with desk(tmp_path, play=break_off) as p:
        browser, form = await waiting(p)
        answer = await press(browser, form)
        assert (answer.status, len(answer.seen)) == (502, 1)
        assert "still kept" not in answer.body.decode()
        assert "Nothing to send" in (await browser.go("/.authproxy/resend")).body.decode()


async def test_two_that_send_it_at_once_send_it_once(tmp_path: Path) -> None:
    """A double click: one goes to the backend, the others are told that there is nothing to send."""
    async with desk(tmp_path) as p:
        browser, form = await waiting(p)
        answers = await asyncio.gather(*(press(browser, form) for _ in range(8)))
        assert sorted(one.status for one in answers) == [200] + [303] * 7
        assert sum(one.head.startswith(b"POST") for one in p.backend.seen) == 1


async def test_an_empty_form_is_sent_once_as_well(tmp_path: Path) -> None:
    """Without a body it goes the same way."""
    async with desk(tmp_path) as p:
        browser, form = await waiting(p, form={})
        assert [len((await press(browser, form)).seen) for _ in range(2)] == [1, 0]


async def test_a_session_that_expires_once_more_does_not_lose_it(tmp_path: Path) -> None:
    """The button of the form is no form of its own: after another login the form itself is offered."""
    async with desk(tmp_path) as p:
        browser, form = await waiting(p)
        await expire(p)
        answer = await press(browser, form)
        assert (answer.status, answer.seen) == (303, [])
        await browser.log_in()
        done = await press(browser, await offered(browser))
        assert done.seen[0].body == b"text=a+b%0D%0Ac%C3%A4&more="


async def test_nothing_else_is_told_that_it_is_kept(tmp_path: Path) -> None:
    """Another form of the same browser, a script, another site: a refusal as ever."""
    route = ROUTE | {"deny": [{"networks": ["0.0.0.0/0"]}]}
    async with desk(tmp_path, routes=(GUARDED, route)) as p:
        browser, form = await waiting(p)
        assert "still kept" in (await press(browser, form)).body.decode()
        for headers in ([*NAVIGATION], [*SCRIPT, OFFERED], [*NAVIGATION, ("Referer", "http://evil.test/.authproxy/resend")]):  # fmt: skip
            answer = await browser.go(form.action, "POST", headers=headers, form=form.fields)
            assert (answer.status, "still kept" in answer.body.decode()) == (403, False)
        del browser.cookies[KEPT]
        assert "still kept" not in (await press(browser, form)).body.decode()


async def test_a_form_survives_a_login_at_the_portal(tmp_path: Path) -> None:
    """It waits on its own host, and the way by the portal leads back to it."""
    async with street(tmp_path, routes=(HOSTS | {"preserve_post": True},)) as p:
        person = Person(p)
        await person.log_in("https://a.test/x")
        await expire(p)
        answer = await person.go("https://a.test/send", "POST", form=DATA)
        where, page = await person.follow("https://a.test/send", answer)
        where, page = await person.fill_in(where, page)
        assert where == "https://a.test/.authproxy/resend"
        form = Form(page.body.decode())
        done = await person.go(f"https://a.test{form.action}", "POST", form=form.fields)
        assert (done.status, done.seen[0].body) == (200, b"text=a+b%0D%0Ac%C3%A4&more=")
