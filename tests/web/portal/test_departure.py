"""The way to a provider: which one, from which host, and what a browser is told when it is not there."""

from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from authproxy.authn import provider as asking
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.step import LOGINS, Step
from authproxy.web.portal import departure
from tests.openid import DISCOVERY, says
from tests.web.portal.browser import COOKIE, SCRIPT, users_text
from tests.web.portal.sso import PEOPLE, Person, company, reasons, sign_in_at


async def test_the_only_way_in_is_taken_at_once() -> None:
    """One provider and no passwords: a page leads straight there; a script is told what it is told everywhere."""
    async with company() as (p, provider):
        ann = Person(p, provider)
        asked = await ann.go("/staff/x")
        assert asked.field("location") == "/.authproxy/login?next=/staff/x"
        sent = await ann.go(str(asked.field("location")))
        assert (sent.status, str(sent.field("location")).partition("?")[0]) == (
            303,
            f"{provider.url}/authorize",
        )
        assert (await ann.go("/staff/x", headers=SCRIPT)).status == 401
        assert (await ann.go("/.authproxy/login", "HEAD")).status == 200  # a look begins nothing


async def test_several_ways_in_are_offered() -> None:
    """By their titles, with the page that somebody wanted; an unknown one is none."""
    async with company(also=["other"], sso={"title": "Acme & <Sons>"}) as (p, provider):
        ann = Person(p, provider)
        page = await ann.go("/.authproxy/login?next=/staff/x")
        text = page.body.decode()
        assert (page.status, text.count("Continue with Acme &amp; &lt;Sons&gt;")) == (200, 2)
        for name in ("sso", "other"):
            assert f'href="/.authproxy/login?provider={name}&amp;next=%2Fstaff%2Fx"' in text
        assert (await ann.go("/.authproxy/login?provider=none&next=/staff/x")).status == 200
        location = await ann.begin(provider="other")
        back = parse_qs(urlsplit(location).query)["redirect_uri"][0]
        assert back == "https://proxy.test/.authproxy/callback/other"
        assert (await ann.go(provider.grant(location))).field("location") == "/staff/x"


async def test_a_provider_beside_passwords(tmp_path: Path) -> None:
    """Both are on the page, and each makes sessions of its own: one's are nothing to routes of the other."""
    (tmp_path / "users.yaml").write_text(users_text())
    users = {"type": "password", "users": {"file": str(tmp_path / "users.yaml")}}
    office = {**PEOPLE, "name": "office", "match": {"paths": ["/office/**"]}, "authenticate": ["staff"]}  # fmt: skip
    async with company(authenticators={"staff": users}, routes=(PEOPLE, office)) as (p, provider):
        ann = Person(p, provider)
        page = (await ann.go("/.authproxy/login?next=/office/x")).body.decode()
        assert ("Continue with sso" in page, 'name="password"' in page) == (True, True)
        await ann.go(provider.grant(await ann.begin(provider="sso")))
        assert [await ann.may(), (await ann.go("/office/x", headers=SCRIPT)).status] == [200, 401]


async def test_a_provider_that_is_away_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    """On the login page, with a way to try again and no loop; sessions go on."""
    monkeypatch.setattr(asking, "PAUSE", 0.0)
    async with company() as (p, provider):
        provider.answers[DISCOVERY] = says(b"", 503)
        ann = Person(p, provider)
        page = await ann.go("/.authproxy/login?next=/staff/x")
        text = page.body.decode()
        assert (page.status, "sso does not answer" in text, "Continue with sso" in text) == (
            502,
            True,
            True,
        )
        assert (p.log()[-1]["code"], reasons(p)) == ("upstream_unreachable", ["provider"])
        del provider.answers[DISCOVERY]
        assert (await ann.sign_in()).status == 303
        provider.answers[DISCOVERY] = says(b"", 503)
        assert await ann.may() == 200


async def test_a_login_ends_on_the_host_where_it_began() -> None:
    """By way of the portal, where the provider sends everybody; the session is that host's, and the cookie too."""
    routes = [{**PEOPLE, "match": {"hosts": ["app.test"], "paths": ["/staff/**"]}}]
    async with company(routes=routes) as (p, provider):
        portal = Person(p, provider)
        ann = await sign_in_at("https://app.test", portal)
        assert await ann.may() == 200
        assert ann.cookies[COOKIE] != portal.cookies[COOKIE]
        again = await sign_in_at("https://app.test", portal)
        assert (await again.may(), provider.asked["/token"]) == (200, 1)


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.test",
        "http://app.test",
        "https://app.test:8443",
        "https://[::1]",
    ],
)
async def test_a_login_ends_on_hosts_that_are_named_alone(origin: str) -> None:
    """Whoever gets an answer of the provider's is half logged in: no made-up host, scheme or port ever does."""
    hosts = [{**PEOPLE, "match": {"hosts": ["app.test"], "paths": ["/staff/**"]}}]
    anywhere = {**PEOPLE, "name": "anywhere", "match": {"paths": ["/any/**"]}}
    async with company(routes=[*hosts, anywhere]) as (p, provider):
        eve = Person(p, provider, origin)
        location = await eve.begin()
        assert location == "https://proxy.test/.authproxy/login?provider=sso&next=%2Fstaff%2Fx"
        assert await p.runtime.records.latest("login") == 0


@pytest.mark.parametrize(
    "wanted", ["//evil.test", "https://evil.test/", "/\\evil.test", "/.authproxy/logout", "x"]
)
async def test_a_login_leads_to_our_own_pages_alone(wanted: str) -> None:
    """The return path is held to the same rule as everywhere, before the way to the provider and not after it."""
    async with company() as (p, provider):
        answer = await Person(p, provider).sign_in(wanted)
        assert (answer.status, answer.field("location")) == (303, "/")


async def test_nobody_begins_logins_without_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a record on the disk: an address begins so many."""
    step = Step([RouteLimit("logins-begun", parse_rate("2/hour"), "address")], LOGINS)
    monkeypatch.setattr(departure, "BEGINNINGS", step)
    async with company() as (p, provider):
        ann = Person(p, provider)
        for _ in range(2):
            await ann.begin()
        assert (await ann.go("/.authproxy/login")).status == 429
        assert COOKIE not in ann.cookies
