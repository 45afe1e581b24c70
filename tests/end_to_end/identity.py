"""A real identity provider (npm: oidc-provider) in a process of its own, and a browser that goes through its pages."""

import http.client
import json
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from tests.end_to_end.nginx import absent, need
from tests.end_to_end.served import environment, free_port
from tests.web.portal.browser import Form

HERE = Path(__file__).resolve().parent
MODULES = HERE.parent.parent / "build" / "node" / "node_modules"


class IdentityProvider:
    """A running provider with these clients, whose tokens live for `lifetime` seconds."""

    def __init__(self, folder: Path, clients: Sequence[Mapping[str, Any]], lifetime: int) -> None:
        node = need("node")
        if not (MODULES / "oidc-provider").is_dir():
            absent("oidc-provider")
        self.port = free_port()
        self.issuer = f"http://127.0.0.1:{self.port}"
        self._err = folder / "identity.err"
        self._command = [node, str(HERE / "identity.mjs"), str(MODULES), str(self.port)]
        self._command.append(json.dumps({"clients": list(clients), "lifetime": lifetime}))
        self.start()

    def start(self) -> None:
        """Start it; it is there when this returns."""
        with self._err.open("ab") as err:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=err, text=True,
                env=environment(),
            )  # fmt: skip
        assert self._process.stdout is not None
        assert self._process.stdout.readline(), self.said()

    def said(self) -> str:
        """What it wrote of what happened."""
        return self._err.read_text()

    def stop(self) -> None:
        """Nobody listens there any more."""
        self._process.kill()
        self._process.communicate()


@dataclass
class Page:
    """An answer; `url` is where it came from."""

    url: str
    status: int
    headers: http.client.HTTPMessage
    text: str


class Browser:
    """One browser: cookies by host and name, redirects followed, forms filled in. It takes `Secure` cookies on loopback."""

    def __init__(self) -> None:
        self.cookies: dict[tuple[str, str], str] = {}
        self.way: list[str] = []  # the URLs of the last page, in order

    def go(self, url: str, form: Mapping[str, str] | None = None, *, navigate: bool = True) -> Page:
        """The page at the end of all redirects."""
        self.way = []
        for _ in range(15):
            page = self._ask(url, form, navigate=navigate)
            self.way.append(url)
            if page.status not in {301, 302, 303, 307, 308}:
                return page
            url, form = urljoin(url, page.headers["Location"]), None
        raise AssertionError(f"redirects without end: {self.way}")

    def send(self, page: Page, **fields: str) -> Page:
        """Fill in the form of a page and send it."""
        form = Form(page.text)
        return self.go(urljoin(page.url, form.action), form.fields | fields)

    def _ask(self, url: str, form: Mapping[str, str] | None, *, navigate: bool) -> Page:
        parts = urlsplit(url)
        host = parts.hostname or ""
        headers = {"Host": parts.netloc}
        if navigate:
            headers |= {"Accept": "text/html", "Sec-Fetch-Mode": "navigate"}
        mine = [f"{name}={value}" for (at, name), value in self.cookies.items() if at == host]
        if mine:
            headers["Cookie"] = "; ".join(mine)
        body = None
        if form is not None:
            body = urlencode(form)
            headers |= {
                "Content-Type": "application/x-www-form-urlencoded",
                "Origin": f"{parts.scheme}://{parts.netloc}",
            }
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=20)
        try:
            target = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("POST" if form is not None else "GET", target or "/", body, headers)
            answer = connection.getresponse()
            for cookie in answer.headers.get_all("Set-Cookie") or []:
                self._keep(host, cookie)
            return Page(url, answer.status, answer.headers, answer.read().decode())
        finally:
            connection.close()

    def _keep(self, host: str, cookie: str) -> None:
        name, _, value = cookie.partition(";")[0].partition("=")
        gone = re.search(r"max-age=0|expires=thu, 01 jan 1970", cookie, re.IGNORECASE)
        if gone or not value:
            self.cookies.pop((host, name), None)
        else:
            self.cookies[host, name] = value
