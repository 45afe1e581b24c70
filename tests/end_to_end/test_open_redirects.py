"""No return value leaves the site: every spelling, at every endpoint that takes one, judged by the browser that would follow.

Each answer's Location and each address on its page is read by chromium, from the page that it was given on.
"""

import re
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, unquote, urlencode

import pytest
from argon2 import PasswordHasher

from authproxy.authn import passwords
from authproxy.authn.tickets import browser_mark
from authproxy.model.rate import parse_rate
from authproxy.policy.table import RouteLimit
from authproxy.rate_limits.step import LOGINS, Step
from authproxy.web.portal import departure, handover
from authproxy.web.portal.portal import CODE, HANDOVER, LOGIN, RESEND, TICKET, USERINFO
from tests import playbook
from tests.end_to_end.chromium import chromium
from tests.end_to_end.test_browser import SECRET
from tests.openid import EvilProvider
from tests.playbook import Proxy
from tests.spellings import spellings
from tests.web.portal.browser import COOKIE, NAVIGATION, PASSWORD, STAFF, Form
from tests.web.portal.hosts import PORTAL as STREET
from tests.web.portal.hosts import street
from tests.web.portal.sso import PORTAL, company
from tests.wire import Answer, Link, request

FORM_COOKIE = f"{COOKIE}-form"
LOGOUT, CALLBACK = "/.authproxy/logout", "/.authproxy/callback/"
# Where other programs look for a return value; ours is `next`.
NAMES = ("next", "rd", "url", "redirect", "redirect_uri", "return", "returnTo", "rurl", "continue", "dest", "goto", "service", "target", "back", "state")  # fmt: skip
ADDED = {"x-injected", "refresh", "link"}
# Where a browser is sent to by a text, from a page of ours: origin (or scheme) and path; nothing where it goes nowhere.
READ = """pairs => pairs.map(([text, base]) => {
  try { const url = new URL(text, base); return [url.origin === 'null' ? url.protocol : url.origin, url.pathname]; }
  catch { return ['', '']; }
})"""


@dataclass
class Finding:
    """A place where an answer leads to: `asked` is the page that it was given on, `text` how it is spelt."""

    wanted: str
    asked: str
    text: str


@dataclass
class Visitor:
    """One browser that never follows, on one connection; what it is led to is kept in `found`."""

    proxy: Proxy
    origin: str
    found: list[Finding]
    cookies: dict[str, str] = field(default_factory=dict)
    link: Link | None = None

    async def go(self, wanted: str, target: str, form: dict[str, str] | None = None) -> Answer:
        """Ask for a page or send a form, and note where the answer leads to."""
        scheme, _, host = self.origin.partition("://")
        fields = [("Host", host), *NAVIGATION, ("X-Forwarded-Proto", scheme)]
        if self.cookies:
            fields.append(("Cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items())))
        body = b"" if form is None else urlencode(form).encode()
        if form is not None:
            fields += [
                ("Content-Type", "application/x-www-form-urlencoded"),
                ("Origin", self.origin),
            ]
        self.link = self.link or await self.proxy.connect()
        await self.link.send(request("GET" if form is None else "POST", target, fields, body))
        answer = await self.link.answer()
        if "close" in answer.all("connection"):
            self.link = None
        self._note(wanted, target, answer)
        return answer

    def _note(self, wanted: str, target: str, answer: Answer) -> None:
        assert not ADDED & {name for name, _ in answer.lines}, (wanted, answer.head)
        for cookie in answer.all("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            assert name.startswith("__Host-"), (wanted, cookie)
            self.cookies[name] = value
        texts = answer.all("location")
        assert len(texts) == (answer.status in {302, 303}), (wanted, answer.head)
        page = re.sub(
            '<link rel="icon"[^>]*>', "", answer.body.decode()
        )  # a picture, nowhere to go
        if "<form" in page:
            form = Form(page)
            texts += [form.action, form.fields.get("next", "")]
        texts += [part.partition('"')[0] for part in page.split('href="')[1:]]
        asked = f"{self.origin}{target.partition('?')[0]}"
        self.found += [Finding(wanted, asked, text) for text in dict.fromkeys(texts)]


@pytest.fixture(autouse=True)
def unhurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is bounded or costly on purpose has no part in this."""
    monkeypatch.setattr(playbook, "LONGEST", 120.0)
    monkeypatch.setattr(passwords, "_HASHER", PasswordHasher(1, 8, 1))
    many = Step([RouteLimit("many", parse_rate("1000000/minute"), "address")], LOGINS)
    monkeypatch.setattr(departure, "BEGINNINGS", many)
    monkeypatch.setattr(handover, "ISSUED", many)


def users(folder: Path, **more: str) -> Path:
    """The users file, hashed anew."""
    hashed = passwords.hash_password(PASSWORD)
    lines = [f"  {name}: {{password: '{hashed}'{more.get(name, '')}}}" for name in ("ann", "bob")]
    (folder / "users.yaml").write_text("users:\n" + "\n".join(lines) + "\n")
    return folder / "users.yaml"


def given(wanted: str, **more: str) -> dict[str, str]:
    """A return value by all the names that it could have, as far as a request takes it."""
    names = NAMES if len(wanted) < 200 else NAMES[:1]
    return dict.fromkeys(names, wanted) | more


async def visit_one_host(v: Visitor, provider: EvilProvider, wanted: str) -> None:
    """Everything that takes a return value: before, at and after a login, by password and at the provider."""
    query = urlencode(given(wanted))
    page = await v.go(wanted, f"{LOGIN}?{query}")
    csrf = Form(page.body.decode()).fields["csrf"]
    last = page
    for name, target in (("x", LOGIN), ("x", CODE), ("bob", LOGIN), ("ann", LOGIN)):
        token = csrf if name != "x" else "x"
        form = {"csrf": token, "username": name, "password": PASSWORD, "next": wanted}
        last = await v.go(wanted, target, form)
    assert last.status == 303
    await v.go(wanted, f"{LOGIN}?{query}")
    page = await v.go(wanted, f"{LOGOUT}?{query}")
    csrf = Form(page.body.decode()).fields["csrf"]
    gone = await v.go(wanted, f"{LOGOUT}?{query}", given(wanted, csrf=csrf))
    assert gone.field("location") == LOGOUT
    v.cookies.pop(COOKIE)
    for target in (LOGOUT, USERINFO, RESEND, CODE, f"{CALLBACK}sso"):
        await v.go(wanted, f"{target}?{query}")
    sent = await v.go(wanted, f"{LOGIN}?{urlencode({'provider': 'sso', 'next': wanted})}")
    back = provider.grant(str(sent.field("location")))
    assert (await v.go(wanted, back)).status == 303
    v.cookies.pop(COOKIE)
    if wanted.startswith("/") and wanted.isascii() and wanted.isprintable() and " " not in wanted:
        await v.go(wanted, wanted)  # as the address itself


async def visit_several_hosts(v: Visitor, wanted: str) -> None:
    """The way of a login from a host to the portal, where `v` is logged in, and back."""
    there = Visitor(v.proxy, "https://a.test", v.found, {FORM_COOKIE: "secret"})
    mark = browser_mark("secret")
    for host, path in ((wanted, "/x"), ("a.test", wanted)):
        target = f"{HANDOVER}?{urlencode({'host': host, 'next': path, 'browser': mark})}"
        await v.go(wanted, f"{LOGIN}?next={quote(target)}")
        sent = await v.go(wanted, target)
        if host != wanted:
            await there.go(wanted, str(sent.field("location")).removeprefix(there.origin))
    assert COOKIE in there.cookies
    there.cookies.pop(COOKIE)
    await there.go(wanted, f"{LOGIN}?{urlencode(given(wanted))}")
    await there.go(wanted, f"{TICKET}?{urlencode({'ticket': wanted, 'next': wanted})}")
    if there.link is not None:
        there.link.close()


async def judge(found: list[Finding], beyond: set[tuple[str, str]]) -> None:
    """Where each leads to in chromium: a page of its own site, or one of these others, by origin and path."""
    pairs = list(dict.fromkeys((one.text, one.asked) for one in found))
    raw = [(one, f"{PORTAL}{LOGIN}") for wanted in spellings() for one in (wanted, unquote(wanted))]
    async with chromium(1) as browser:
        page = await browser.new_page()
        read = await page.evaluate(READ, pairs)
        away = [there not in {"", PORTAL} for there, _ in await page.evaluate(READ, raw)]
    places = dict(zip(pairs, map(tuple, read), strict=True))
    for one in found:
        place = places[one.text, one.asked]
        own = "/".join(one.asked.split("/")[:3])
        assert place[0] == own or place in beyond, one
    # The list is worth its name: as they are, or decoded once more, so many of them lead elsewhere.
    assert sum(map(max, away[::2], away[1::2])) >= 300


async def test_no_login_or_logout_leads_elsewhere(tmp_path: Path) -> None:
    """By password, code and provider, before and after: a path of this site, or the provider where one was chosen."""
    found: list[Finding] = []
    staff = {"type": "password", "users": {"file": str(users(tmp_path, bob=f", totp: {SECRET}"))}}
    everything = STAFF | {"match": {"paths": ["/**"]}, "authenticate": ["staff", "sso"]}
    async with company(routes=(everything,), authenticators={"staff": staff}) as (p, provider):
        visitor = Visitor(p, PORTAL, found)
        for wanted in spellings():
            visitor.cookies.clear()
            await visit_one_host(visitor, provider, wanted)
        beyond = {(provider.url, "/authorize")}
    await judge(found, beyond)


async def test_no_handover_leads_elsewhere(tmp_path: Path) -> None:
    """Between the portal and the hosts that routes name: by a ticket there, by the login back, and to nobody else."""
    found: list[Finding] = []
    users(tmp_path)
    async with street(tmp_path) as p:
        visitor = Visitor(p, STREET, found)
        page = await visitor.go("/", f"{LOGIN}?next=/")
        csrf = Form(page.body.decode()).fields["csrf"]
        await visitor.go("/", LOGIN, {"csrf": csrf, "username": "ann", "password": PASSWORD})
        for wanted in spellings():
            await visit_several_hosts(visitor, wanted)
    await judge(found, {("https://a.test", TICKET), (STREET, LOGIN)})
