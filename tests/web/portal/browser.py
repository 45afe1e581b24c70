"""A browser as far as our pages need one: it keeps cookies, fills in forms and follows where it is sent."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from authproxy.authn.passwords import hash_password
from tests.playbook import GUARDED, OPEN, Proxy, authenticator, playbook
from tests.wire import Answer

PASSWORD = "correct horse battery"
COOKIE = "__Host-authproxy"
NAVIGATION = [
    ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Site", "same-origin"),
]  # fmt: skip
SCRIPT = [
    ("Accept", "application/json"),
    ("Sec-Fetch-Mode", "cors"),
    ("Sec-Fetch-Site", "same-origin"),
]
STAFF: dict[str, Any] = {
    "name": "staff", "match": {"paths": ["/staff/**"]}, "upstream": "backend",
    "authenticate": ["staff", "tokens"], "allow": "authenticated",
}  # fmt: skip


@cache
def hashed() -> str:
    """The hash of `PASSWORD`, made once."""
    return hash_password(PASSWORD)


def users_text(**more: str) -> str:
    """A users file with ann and bob; `more` are lines of theirs."""
    lines = [
        f"  ann: {{password: '{hashed()}', groups: [eng], email: ann@x.test{more.get('ann', '')}}}"
    ]
    lines += [f"  bob: {{password: '{hashed()}'{more.get('bob', '')}}}"]
    return "users:\n" + "\n".join(lines) + "\n"


class Form(HTMLParser):
    """The first form of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self.action = ""
        self._forms = 0
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep what a browser would send."""
        named = dict(attrs)
        if tag == "form":
            self._forms += 1
        if self._forms > 1:
            return
        if tag == "form":
            self.action = named.get("action") or ""
        if tag == "input" and named.get("name"):
            self.fields[named["name"] or ""] = named.get("value") or ""


class Browser:
    """One browser at the proxy, on the host of this origin; with https a proxy in front says so."""

    def __init__(self, proxy: Proxy, origin: str = "http://proxy.test") -> None:
        self.proxy = proxy
        self.origin = origin
        self.cookies: dict[str, str] = {}

    async def go(
        self,
        target: str,
        method: str = "GET",
        headers: list[tuple[str, str]] = NAVIGATION,
        form: dict[str, str] | None = None,
        sent: tuple[str, bytes] = ("", b""),
    ) -> Answer:
        """Ask for a page, or send a form: its fields, or its kind and bytes."""
        scheme, _, host = self.origin.partition("://")
        fields = [("Host", host), *headers]
        if scheme == "https":
            fields.append(("X-Forwarded-Proto", "https"))
        if self.cookies:
            fields.append(("Cookie", "; ".join(f"{k}={v}" for k, v in self.cookies.items())))
        if form is not None:
            sent = "application/x-www-form-urlencoded", urlencode(form).encode()
        kind, body = sent
        if kind:
            fields += [("Content-Type", kind), ("Origin", self.origin)]
        answer = await self.proxy.request(method, target, fields, body)
        for cookie in answer.all("Set-Cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
            if re.search("max-age=0", cookie, re.IGNORECASE):
                del self.cookies[name]
        return answer

    async def log_in(
        self,
        username: str = "ann",
        password: str = PASSWORD,
        wanted: str = "/staff/x",
        **changes: str,
    ) -> Answer:
        """Fill in the login form."""
        page = await self.go(f"/.authproxy/login?{urlencode({'next': wanted})}")
        form = Form(page.body.decode())
        fields = form.fields | {"username": username, "password": password} | changes
        return await self.go(form.action, "POST", form=fields)

    async def may(self) -> int:
        """The status of a guarded page, asked for by a script."""
        return (await self.go("/staff/x", headers=SCRIPT)).status


@asynccontextmanager
async def office(folder: Path, **config: Any) -> AsyncIterator[Proxy]:
    """A proxy where ann and bob can log in."""
    users = folder / "users.yaml"
    if not users.exists():
        users.write_text(users_text())
    routes = config.pop("routes", (OPEN, GUARDED, STAFF))
    tokens = config.pop("tokens", {})
    more = config.pop("more", {})
    staff = {"type": "password", "users": {"file": str(users)}}
    authenticators = {"tokens": authenticator() | tokens, "staff": staff, **more}
    async with playbook(*routes, authenticators=authenticators, **config) as proxy:
        yield proxy
