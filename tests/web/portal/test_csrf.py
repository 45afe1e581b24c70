"""Nothing at the portal is changed by a form that is not its own: every endpoint of its table, every way to forge one.

The list is the portal's own: an endpoint that is new there fails here until it is said how its form is come by.
"""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

import pytest

from authproxy.authn.issue import generate_key
from authproxy.authn.sessions import KIND as SESSIONS
from authproxy.authn.sessions import _dump
from authproxy.state.memory_records import MemoryRecords
from authproxy.web.endpoints import OF_PROVIDERS, PAGES, STEPS
from authproxy.web.own_site import SAFE
from authproxy.web.portal.portal import CODE, HANDOVER, LOGIN, RESEND, TICKET, USERINFO
from tests.playbook import Proxy
from tests.web.portal.browser import COOKIE, NAVIGATION, PASSWORD, STAFF, Form, users_text
from tests.web.portal.sso import PORTAL, Person, company
from tests.web.portal.test_second_factor import TOTP, code
from tests.wire import Answer

LOGOUT, CALLBACK, BACKCHANNEL = "/.authproxy/logout", "/.authproxy/callback/", "/.authproxy/backchannel-logout/"  # fmt: skip
URLENCODED = "application/x-www-form-urlencoded"
# Between hosts, by links that are good once and of one browser: tests/web/portal/test_handover.py.
BETWEEN_HOSTS = {HANDOVER, TICKET}


@dataclass(frozen=True)
class Change:
    """What changes something when this person's browser sends it: `token` is the field that proves where it is from."""

    target: str
    fields: dict[str, str]
    token: str = "csrf"  # a field's name
    method: str = "POST"

    def but(self, value: str | None) -> "Change":
        """The same with another token, or with none."""
        fields = {name: v for name, v in self.fields.items() if name != self.token}
        return replace(self, fields=fields if value is None else fields | {self.token: value})


class Somebody(Person):
    """A person at the portal; `evil` is the one who forges."""

    evil = False

    async def enter(self, name: str = "ann") -> Answer:
        """Log in by password, as if for the first time."""
        self.cookies.clear()
        return await self.log_in(name)

    async def send(self, change: Change, **unlike: str) -> Answer:
        """Send it as a browser does on our own page, but for the headers that are `unlike`."""
        pairs = urlencode(change.fields)
        if change.method == "GET":
            return await self.go(f"{change.target}?{pairs}")
        headers = {"Origin": self.origin, "Content-Type": URLENCODED, **dict(NAVIGATION)}
        headers |= {name.replace("_", "-"): value for name, value in unlike.items()}
        headers |= {"Host": "proxy.test", "X-Forwarded-Proto": "https"}
        if self.cookies:
            headers["Cookie"] = "; ".join(f"{k}={v}" for k, v in self.cookies.items())
        answer = await self.proxy.request("POST", change.target, headers, pairs.encode())
        self.cookies |= {
            c.partition("=")[0]: c.partition("=")[2].partition(";")[0]
            for c in answer.all("Set-Cookie")
        }
        return answer


async def login_form(who: Somebody) -> Change:
    who.cookies.clear()
    form = Form((await who.go(f"{LOGIN}?next=/staff/x")).body.decode())
    return Change(form.action, form.fields | {"username": "ann", "password": PASSWORD})


async def code_form(who: Somebody) -> Change:
    form = Form((await who.enter("bob")).body.decode())
    return Change(form.action, form.fields | {"code": code()})


async def logout_form(who: Somebody) -> Change:
    await who.enter()
    form = Form((await who.go(LOGOUT)).body.decode())
    return Change(form.action, form.fields)


async def others_form(who: Somebody) -> Change:
    await who.enter()
    await who.enter()
    form = Form((await who.go(USERINFO)).body.decode())
    return Change(form.action, form.fields)


async def drop_form(who: Somebody) -> Change:
    await who.enter()
    sessions = who.proxy.runtime.sessions
    session = await sessions.find(who.cookies[COOKIE], 0.0)
    assert session is not None
    old = _dump(session, seen=session.seen - 4000.0)
    await who.proxy.runtime.records.put(SESSIONS, session.key, old, session.created + 90_000.0)
    await who.go("/staff/send", "POST", form={"text": "dear"})
    await who.log_in()
    page = (await who.go(RESEND)).body.decode()
    form = Form(page.partition("</form>")[2])
    return Change(form.action, form.fields)


async def answer_of_provider(who: Somebody) -> Change:
    who.cookies.clear()
    path, _, query = who.provider.grant(await who.begin(provider="sso")).partition("?")
    return Change(path, dict(parse_qsl(query)), "state", "GET")


async def logout_token(who: Somebody) -> Change:
    who.cookies.clear()
    await who.go(who.provider.grant(await who.begin(provider="sso")))
    changes = {"header": {"key": generate_key("ES256").decode()}} if who.evil else {}
    token = who.provider.logout_token(**changes)
    return Change(f"{BACKCHANNEL}sso", {"logout_token": token}, "logout_token")


# How each endpoint that changes something is come by.
FORMS: dict[str, Callable[[Somebody], Awaitable[Change]]] = {
    LOGIN: login_form, CODE: code_form, LOGOUT: logout_form, USERINFO: others_form, RESEND: drop_form,
    CALLBACK: answer_of_provider, BACKCHANNEL: logout_token,
}  # fmt: skip


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[tuple[Proxy, Somebody, Somebody]]:
    """A proxy, who is to be tricked, and who tricks."""
    (folder / "users.yaml").write_text(users_text(bob=TOTP))
    staff = {"type": "password", "users": {"file": str(folder / "users.yaml")}}
    route = STAFF | {"authenticate": ["staff", "sso"], "preserve_post": True}
    more = {"authenticators": {"staff": staff}, "failed_authentications": "1000/minute"}
    async with company(routes=(route,), **more) as (p, provider):
        ann, eve = Somebody(p, provider), Somebody(p, provider)
        eve.evil = True
        yield p, ann, eve


def kept(p: Proxy) -> set[tuple[str, bytes]]:
    """Everything that is kept: sessions, logins under way, forms, tickets."""
    assert isinstance(p.runtime.records, MemoryRecords)
    return {(kind, key) for kind, held in p.runtime.records._kinds.items() for key in held}


def test_every_endpoint_is_walked() -> None:
    """Those of the portal's own table, without one that changes something and is not known here."""
    assert {*PAGES, *STEPS, *OF_PROVIDERS} == {*FORMS, *BETWEEN_HOSTS}
    assert {path for path, (method, _) in OF_PROVIDERS.items() if method not in SAFE} < {*FORMS}


@pytest.mark.parametrize("path", FORMS)
async def test_no_forged_form_changes_anything(tmp_path: Path, path: str) -> None:
    """Without a token, with a made-up one, somebody else's or that of another session; from another site; as another kind."""
    async with scene(tmp_path) as (p, ann, eve):
        used = await FORMS[path](ann)
        before = kept(p)
        await ann.send(used)
        assert kept(p) != before, "the right form changes something"
        theirs, mine = await FORMS[path](eve), await FORMS[path](ann)
        forged = [mine.but(token) for token in (None, "", "x" * 43, used.fields[used.token], theirs.fields[used.token])]  # fmt: skip
        forged += [used, theirs]
        before, cookies = kept(p), dict(ann.cookies)
        for change in forged:
            await check_unchanged(p, ann, await ann.send(change), before, cookies)
        if mine.method == "GET":
            return
        for unlike in ELSEWHERE:
            answer = await ann.send(mine, **unlike)
            assert answer.status in {400, 403}, unlike
            await check_unchanged(p, ann, answer, before, cookies)
        await check_unchanged(p, ann, await ann.go(f"{mine.target}?{urlencode(mine.fields)}"), before, cookies)  # fmt: skip


# What a browser says of a form that another site, or a sibling of ours, made it send.
ELSEWHERE: list[dict[str, str]] = [
    {"Sec_Fetch_Site": "cross-site"}, {"Sec_Fetch_Site": "same-site"}, {"Origin": "https://evil.test"}, {"Origin": "null"},
    {"Origin": "http://proxy.test"}, {"Origin": f"{PORTAL}:8443"}, {"Origin": "https://x.proxy.test"}, {"Content_Type": "text/plain"},
    {"Content_Type": "multipart/form-data; boundary=x"}, {"Content_Type": "application/json"},
]  # fmt: skip


async def check_unchanged(
    p: Proxy, who: Somebody, answer: Answer, before: set[tuple[str, bytes]], cookies: dict[str, str]
) -> None:
    """Nothing is there that was not, nothing is gone, and the browser is who it was."""
    assert kept(p) == before, answer.head
    assert answer.seen == []
    assert not any(c.startswith(f"{COOKIE}=") for c in answer.all("Set-Cookie")), answer.head
    who.cookies = dict(cookies)
