"""Clients of a long run: they send trials at a rate, log in and out, and hold WebSockets; each outcome is told to a listener.

A client has a timeout for everything, and nothing is retried: what became of each trial is known, and told once.
"""

import asyncio
import random
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import aiohttp
from yarl import URL

from tests.endurance.backend import MARK
from tests.endurance.site import HOST
from tests.endurance.trials import (
    ALLOW,
    Credentials,
    Trial,
    bearer,
    dead_session,
    live_session,
    refused,
    trial,
)
from tests.web.portal.browser import COOKIE, PASSWORD, Form

PATIENCE = 20.0  # seconds that a client waits for an answer, and for its end
ACCEPTS = {"Accept": "application/json"}
PAGES = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial: `verdict` is allow or the code; where there was no whole answer it is "", and `error` says why."""

    name: str
    trial: Trial
    at: float
    seconds: float
    verdict: str = ""
    status: int = 0
    request_id: str = ""
    error: str = ""


Told = Callable[[Outcome], None]


@dataclass
class Callers:
    """Where they call, with what, and whom they tell."""

    bases: list[str]
    credentials: Credentials
    tell: Told
    authority: ssl.SSLContext | None = None
    patience: float = PATIENCE
    _numbers: "count[int]" = field(default_factory=count)
    _session: aiohttp.ClientSession | None = None

    @property
    def rng(self) -> random.Random:
        """The run's own chance."""
        return self.credentials.rng

    @asynccontextmanager
    async def calling(self) -> AsyncIterator["Callers"]:
        """With connections that are kept for the while."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
        timeout = aiohttp.ClientTimeout(total=self.patience)
        async with aiohttp.ClientSession(
            connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=["Accept-Encoding"],
        ) as self._session:  # fmt: skip
            yield self

    def _request(
        self, method: str, path: str, name: str, headers: dict[str, str], body: Any = None
    ) -> Any:
        assert self._session is not None
        return self._session.request(
            method, URL(self.rng.choice(self.bases) + path, encoded=True), data=body or None, allow_redirects=False,
            headers={"Host": HOST, "X-Trial": name, **headers}, ssl=self.authority or True, server_hostname=HOST,
        )  # fmt: skip

    def _name(self, one: Trial) -> str:
        return f"{one.kind}#{next(self._numbers)}"

    async def ask(self, one: Trial) -> Outcome:
        """Send a trial; its outcome, which has been told."""
        name, at, began = self._name(one), time.time(), time.monotonic()
        found: dict[str, Any] = {}
        try:
            sent = {**ACCEPTS, **one.headers}
            async with self._request(one.method, one.path, name, sent, one.body) as answer:
                found = {
                    "status": answer.status,
                    "request_id": answer.headers.get("X-Request-Id", ""),
                }
                content = await answer.read()
                found["verdict"] = await _verdict(answer, content)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            found["error"] = _word(error)
        outcome = Outcome(name, one, at, time.monotonic() - began, **found)
        self.tell(outcome)
        return outcome

    async def log_in(self, user: str, password: str = PASSWORD) -> tuple[str, Outcome]:
        """The session's cookie, empty where there is none; and what became of the login."""
        one = Trial("login", frozenset({"login"}), "/.authproxy/login", "POST")
        name, at, began = self._name(one), time.time(), time.monotonic()
        found: dict[str, Any] = {}
        cookie = ""
        try:
            async with self._request("GET", "/.authproxy/login?next=/staff/x", name, PAGES) as page:
                found = {"status": page.status, "request_id": page.headers.get("X-Request-Id", "")}
                form, ours = Form(await page.text()), _cookies(page)
            if found["status"] == 200:
                fields = form.fields | {"username": user, "password": password}
                more = {**PAGES, "Cookie": ours}
                async with self._request(
                    "POST", form.action or "/.authproxy/login", name, more, fields
                ) as answer:
                    found = {
                        "status": answer.status,
                        "request_id": answer.headers.get("X-Request-Id", ""),
                    }
                    await answer.read()
                    cookie = _cookies(answer, COOKIE)
            found["verdict"] = "login" if cookie else "refused"
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            found["error"] = _word(error)
        outcome = Outcome(name, one, at, time.monotonic() - began, **found)
        self.tell(outcome)
        return cookie, outcome

    async def log_out(self, cookie: str) -> bool:
        """Was the session ended, as far as the proxy says? None of the trials counts it."""
        name = "logout"
        more = {**PAGES, "Cookie": cookie}
        try:
            async with self._request("GET", "/.authproxy/logout", name, more) as page:
                form = Form(await page.text())
            if "csrf" not in form.fields:
                return False
            async with self._request(
                "POST", form.action or "/.authproxy/logout", name, more, form.fields
            ) as answer:
                await answer.read()
                return bool(answer.status == 303)
        except (aiohttp.ClientError, OSError, TimeoutError):
            return False

    async def people(self, pause: float) -> None:
        """Somebody who logs in, asks, logs out, and tries the old cookie; again and again."""
        while True:
            await self._pause(pause)
            user = self.rng.choice(("ann", "bob"))
            if self.rng.random() < 0.1:
                await self.log_in(user, "wrong")
                continue
            cookie, _ = await self.log_in(user)
            if not cookie:
                continue
            for _ in range(self.rng.randint(1, 8)):
                await self.ask(live_session(cookie, user))
                await self._pause(pause / 8)
            if await self.log_out(cookie):
                for _ in range(4):
                    await self.ask(dead_session(cookie, "session after logout"))

    async def requests(self, pause: float) -> None:
        """One trial after another."""
        while True:
            await self._pause(pause)
            await self.ask(trial(self.credentials))

    async def sockets(self, pause: float) -> None:
        """WebSockets that echo for a while; some of them of nobody."""
        while True:
            await self._pause(pause)
            if self.rng.random() < 0.2:
                await self.ask(_upgrade(refused("socket of nobody", "unauthenticated", "/api/ws")))
                continue
            user = self.rng.choice(("alice", "bert"))
            one = Trial("socket", frozenset({ALLOW}), "/api/ws", user=user)
            await self._converse(one, self.rng.randint(1, 10), pause)

    async def _converse(self, one: Trial, messages: int, pause: float) -> None:
        name, at, began = self._name(one), time.time(), time.monotonic()
        assert self._session is not None
        headers = {"Host": HOST, "X-Trial": name, **bearer(self.credentials.token(one.user))}
        found: dict[str, Any] = {}
        try:
            async with self._session.ws_connect(
                self.rng.choice(self.bases) + one.path, headers=headers, ssl=self.authority or True,
                timeout=aiohttp.ClientWSTimeout(ws_receive=self.patience, ws_close=3), server_hostname=HOST,
            ) as socket:  # fmt: skip
                found["status"] = 101
                for number in range(messages):
                    await socket.send_str(f"{name} {number}")
                    message = await socket.receive()
                    if message.type is not aiohttp.WSMsgType.TEXT:
                        found["error"] = f"closed {socket.close_code}"
                        break
                    await self._pause(pause / 8)
                else:
                    found["verdict"] = ALLOW
        except aiohttp.WSServerHandshakeError as error:
            fields = error.headers or {}
            found = {
                "status": error.status, "verdict": f"status {error.status}", "request_id": fields.get("X-Request-Id", ""),
            }  # fmt: skip
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            found["error"] = _word(error)
        self.tell(Outcome(name, one, at, time.monotonic() - began, **found))

    async def _pause(self, mean: float) -> None:
        await asyncio.sleep(self.rng.uniform(0.5, 1.5) * mean)


def _upgrade(one: Trial) -> Trial:
    asked = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    return Trial(one.kind, one.verdicts, one.path, headers=asked)


async def _verdict(answer: aiohttp.ClientResponse, content: bytes) -> str:
    """Allow where the backend answered; else the code of ours."""
    if MARK in answer.headers:
        return ALLOW
    if answer.content_type == "application/problem+json":
        return str((await answer.json(content_type=None)).get("code", ""))
    return f"status {answer.status} {content[:40]!r}"


def _cookies(answer: aiohttp.ClientResponse, only: str = "") -> str:
    """What a browser would send back; `only` the one of this name."""
    pairs = [one.partition(";")[0] for one in answer.headers.getall("Set-Cookie", [])]
    return "; ".join(
        p for p in pairs if not only or (p.startswith(f"{only}=") and len(p) > len(only) + 1)
    )


def _word(error: BaseException) -> str:
    """Why there was no whole answer, in few words."""
    if isinstance(error, TimeoutError):
        return "timeout"
    return type(error).__name__
