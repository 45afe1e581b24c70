"""One login for several hosts: it serves all that routes name, ends on all, and what carries it opens nothing elsewhere."""

from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

import pytest

from authproxy.authn.tickets import browser_mark
from tests.playbook import OPEN, Proxy
from tests.web.portal.browser import COOKIE, STAFF, Form
from tests.web.portal.hosts import PORTAL, Person, asking, street, ticket_of

FORM_COOKIE = f"{COOKIE}-form"
MARK = browser_mark("somebody")


async def ticket_for(p: Proxy, person: Person, url: str = "https://a.test/x") -> str:
    """The URL with a ticket that this person's browser is sent to, not followed."""
    asked = await person.go(url)
    login = asked.field("location") or ""
    target = parse_qs(urlsplit(login).query)["next"][0]
    answer = await person.go(f"{PORTAL}{target}")
    return answer.field("location") or ""


async def test_one_login_serves_all_hosts(tmp_path: Path) -> None:
    """The first host sends to the portal and gets its own cookie; the second asks nobody anything."""
    async with street(tmp_path) as p:
        person = Person(p)
        asked = await person.go("https://a.test/staff/x?q=1")
        location = asked.field("location") or ""
        assert (asked.status, location.startswith(f"{PORTAL}/.authproxy/login?next=")) == (
            302,
            True,
        )
        where, page = await person.log_in("https://a.test/staff/x?q=1")
        assert (where, page.status) == ("https://a.test/staff/x?q=1", 200)
        assert page.seen[0].field("x-forwarded-user") == "ann"
        where, page = await person.visit("https://b.test/y")
        assert (where, page.status) == ("https://b.test/y", 200)
        where, page = await person.visit("https://deep.apps.test/")
        assert (where, page.status) == ("https://deep.apps.test/", 200)
        ids = {browser.cookies[COOKIE] for browser in person.at.values()}
        assert len(ids) == len(person.at) == 4


async def test_the_portal_may_be_an_ipv6_address(tmp_path: Path) -> None:
    """Found by the spelling that browsers send, whichever the configuration has; the way back is another host as ever."""
    async with street(tmp_path, portal={"url": "https://[2001:DB8:0::7]:8443"}) as p:
        person = Person(p)
        asked = await person.go("https://a.test:8443/x")
        assert (asked.field("location") or "").startswith(
            "https://[2001:db8::7]:8443/.authproxy/login?"
        )
        where, page = await person.log_in("https://a.test:8443/x")
        assert (where, page.status) == ("https://a.test:8443/x", 200)
        assert page.seen[0].field("x-forwarded-user") == "ann"


async def test_the_end_is_the_end_on_all_hosts(tmp_path: Path) -> None:
    """Whichever host somebody signs out on, or the portal."""
    async with street(tmp_path) as p:
        for host in ("a.test", "b.test", "login.test"):
            person = Person(p)
            await person.log_in("https://a.test/x")
            await person.visit("https://b.test/x")
            form = Form((await person.go(f"https://{host}/.authproxy/logout")).body.decode())
            gone = await person.go(f"https://{host}{form.action}", "POST", form=form.fields)
            assert gone.field("location") == "/.authproxy/logout"
            assert [await person.may(f"https://{h}.test/x") for h in "ab"] == [401, 401]
            where, page = await person.visit("https://b.test/x")
            assert (urlsplit(where).netloc, page.status) == ("login.test", 200)


async def test_revocation_is_on_all_hosts(tmp_path: Path) -> None:
    """The operator sees one session, not one a host, and its end is everywhere."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://a.test/x")
        await person.visit("https://b.test/x")
        sessions = p.runtime.sessions
        (session,) = await sessions.every(9e8)
        await sessions.end(session, 9e8)
        assert [await person.may(f"https://{h}.test/x") for h in "ab"] == [401, 401]


async def test_a_ticket_is_good_once(tmp_path: Path) -> None:
    """The second time, by whoever it is, it opens nothing."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        url = await ticket_for(p, person)
        assert (await person.go(url)).field("location") == "/x"
        assert (await person.go(url)).field("location") == "/"  # the back button of who is in
        del person.at["a.test"].cookies[COOKIE]
        again = await person.go(url)
        assert (again.status, again.all("Set-Cookie")) == (403, [])
        assert "Sign in again" in again.body.decode()
        assert p.log()[-1]["reason"] == "ticket"


async def test_a_ticket_is_of_one_browser(tmp_path: Path) -> None:
    """Another browser gets nothing by it, even if it asked itself; and afterwards it is over for everybody."""
    async with street(tmp_path) as p:
        person, other = Person(p), Person(p)
        await person.log_in("https://b.test/")
        await other.go("https://a.test/x")
        for thief in (other, Person(p)):
            url = await ticket_for(p, person)
            assert (await thief.go(url)).status == 403
            assert await thief.may("https://a.test/x") == 401
            assert (await person.go(url)).status == 403


async def test_a_ticket_is_of_one_host(tmp_path: Path) -> None:
    """Another of our hosts, another port or scheme of the same one: nothing."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        del person.at["b.test"].cookies[COOKIE]
        for place in ("https://b.test", "https://a.test:8443", "http://a.test", PORTAL):
            url = await ticket_for(p, person)
            browser = person.at["a.test"].cookies[FORM_COOKIE]
            path = url.removeprefix("https://a.test")
            thief = Person(p)
            await thief.go(f"{place}/.authproxy/logout")
            thief.at[urlsplit(place).netloc].cookies[FORM_COOKIE] = browser
            answer = await thief.go(f"{place}{path}")
            assert (answer.status, answer.all("Set-Cookie")) == (403, []), place


async def test_a_late_ticket_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is good for some seconds."""
    monkeypatch.setattr("authproxy.authn.tickets.SECONDS", -1.0)
    async with street(tmp_path) as p:
        person = Person(p)
        where, page = await person.log_in("https://a.test/x")
        assert (page.status, urlsplit(where).path) == (403, "/.authproxy/ticket")


async def test_a_ticket_ends_with_its_session(tmp_path: Path) -> None:
    """Signing out meanwhile wins."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        url = await ticket_for(p, person)
        (session,) = await p.runtime.sessions.every(9e8)
        await p.runtime.sessions.end(session, 9e8)
        assert (await person.go(url)).status == 403


@pytest.mark.parametrize(
    "host",
    [
        "evil.test", "a.test.evil.test", "evil.test#a.test", "evil.test/a.test", "evil.test\\a.test", "a.test:8443", "a.test:443",
        "a.test.", "A.test", "a.test@evil.test", "user@a.test", "//evil.test", "https://evil.test", "https://a.test", "apps.test",
        ".apps.test", "x.apps.test.evil.test", "evil.test?.apps.test", "evil.test%23.apps.test", "evil.test\t.apps.test",
        "evil.test\r\nx.apps.test", "[::1]", "127.0.0.1", "a.test\0", " a.test", "a\u3002test", "\uff41.test", "", "login.test",
    ],
)  # fmt: skip
async def test_nobody_is_sent_to_other_hosts(tmp_path: Path, host: str) -> None:
    """Neither before a login nor after it, by no spelling of a host or a port; and nothing of it is written on a page."""
    async with street(tmp_path) as p:
        person = Person(p)
        target = asking(host=host, next="/x", browser=MARK)
        for _ in range(2):  # before and after the login
            assert (await person.go(f"{PORTAL}{target}")).status == 404
            page = await person.go(f"{PORTAL}/.authproxy/login?next={quote(target)}")
            if page.status == 200:
                where, _ = await person.fill_in(f"{PORTAL}/.authproxy/login", page, next=target)
                assert where == f"{PORTAL}/.authproxy/userinfo"
            else:
                assert page.field("location") == "/.authproxy/userinfo"


@pytest.mark.parametrize(
    "query",
    [
        {}, {"host": "a.test"}, {"host": "a.test", "next": "/x", "browser": ""}, {"host": "a.test", "next": "/x", "browser": "x" * 42},
        {"host": "a.test", "next": "/x", "browser": "x" * 42 + "\n"}, {"host": "a.test", "next": "/x", "browser": MARK, "more": "1"},
    ],
)  # fmt: skip
async def test_what_is_no_handover_is_none(tmp_path: Path, query: dict[str, str]) -> None:
    """Parts that are missing, misshapen or too many."""
    async with street(tmp_path) as p:
        assert (await Person(p).go(f"{PORTAL}{asking(**query)}")).status == 404
        twice = asking(host="a.test", next="/x", browser=MARK) + "&host=b.test"
        assert (await Person(p).go(f"{PORTAL}{twice}")).status == 404


@pytest.mark.parametrize("path", ["//evil.test", "https://evil.test/", "/\\evil.test", "/.authproxy/logout", "/a/../b", "/x\r\nA: b"])  # fmt: skip
async def test_the_path_there_is_of_that_host(tmp_path: Path, path: str) -> None:
    """What could be read as another site is its front page."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        await person.go("https://a.test/")
        mark = browser_mark(person.at["a.test"].cookies[FORM_COOKIE])
        answer = await person.go(f"{PORTAL}{asking(host='a.test', next=path, browser=mark)}")
        assert (answer.field("location") or "").startswith(
            "https://a.test/.authproxy/ticket?ticket="
        )
        assert (await person.go(answer.field("location") or "")).field("location") == "/"


async def test_the_page_says_where_it_leads(tmp_path: Path) -> None:
    """The host that asked is named on it."""
    async with street(tmp_path) as p:
        _, page = await Person(p).visit("https://a.test/x")
        assert "to continue to a.test" in page.body.decode()


async def test_steps_are_no_pages_elsewhere(tmp_path: Path) -> None:
    """The portal alone hands over; a HEAD or a POST spends no ticket; a host without a login of its own has no form."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        target = asking(host="a.test", next="/x", browser=MARK)
        assert (await person.go(f"https://b.test{target}")).status == 404
        url = await ticket_for(p, person)
        assert (await person.go(url, "HEAD")).status == 405
        assert (await person.go(url, "POST")).status == 405
        assert (await person.go(url)).field("location") == "/x"
        sent = await person.go("https://a.test/.authproxy/login", "POST", form={"username": "ann"})
        assert (sent.field("location") or "").startswith(f"{PORTAL}/.authproxy/login?next=")


async def test_hosts_that_no_route_names_log_in_by_themselves(tmp_path: Path) -> None:
    """As do those that are reached by another port or scheme than the portal's: no ticket leads back there."""
    everywhere = STAFF | {"name": "everywhere"}
    async with street(tmp_path, routes=(OPEN, everywhere)) as p:
        for place in ("https://c.test", "https://a.test", "http://a.test", "https://a.test:8443"):
            asked = await Person(p).go(f"{place}/staff/x")
            assert asked.field("location") == "/.authproxy/login?next=/staff/x", place


async def test_tickets_are_bounded_by_address(tmp_path: Path) -> None:
    """Each is written to the disk, so nobody gets any number of them."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        target = f"{PORTAL}{asking(host='a.test', next='/', browser=MARK)}"
        statuses = [(await person.go(target)).status for _ in range(300)]
        assert (statuses[0], statuses[-1]) == (303, 429)


async def test_a_session_of_another_login_is_no_loop(tmp_path: Path) -> None:
    """Where the one that somebody has does not help, the login page is shown instead of sent past."""
    users = {"type": "password", "users": {"file": str(tmp_path / "users.yaml")}}
    guests = STAFF | {"name": "guests", "match": {"hosts": ["g.test"], "paths": ["/**"]}, "authenticate": ["guests"]}  # fmt: skip
    hosts = STAFF | {"match": {"hosts": ["a.test"], "paths": ["/**"]}}
    async with street(tmp_path, routes=(guests, hosts), more={"guests": users}) as p:
        person = Person(p)
        await person.log_in("https://a.test/x")
        where, page = await person.visit("https://g.test/x")
        assert (page.status, urlsplit(where).path) == (200, "/.authproxy/login")


async def test_a_ticket_is_never_in_the_log(tmp_path: Path) -> None:
    """Nor is it sent on as a referrer."""
    async with street(tmp_path) as p:
        person = Person(p)
        await person.log_in("https://b.test/")
        answer = await person.go(await ticket_for(p, person))
        assert answer.field("referrer-policy") in {"same-origin", "no-referrer"}
        assert not any("ticket=" in str(line) for line in p.log())
        assert ticket_of(answer) == ""
