"""Clients of a long run: they send trials at a rate, log in and out, and hold WebSockets; each outcome is told to a listener.

Everything that a client waits for has a timeout, and nothing is sent twice: what became of each trial is known, and told
once. A trial's name is its request id, so that the access log's line of it can be found.
"""

import asyncio
import json
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
    revoked_lately,
    trial,
)
from tests.web.portal.browser import COOKIE, PASSWORD, Form

PATIENCE = 20.0  # seconds that a client waits for an answer and its end
ACCEPTS = {"Accept": "application/json"}
PAGES = {"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Site": "same-origin"}
LOGIN = Trial("login", frozenset({"done"}), "/.authproxy/login")
WRONG = Trial("wrong password", frozenset({"status 401"}), "/.authproxy/login")
LOGOUT = Trial("logout", frozenset({"done"}), "/.authproxy/logout")
KNOWN_WITHIN = 1.0  # seconds until every worker knows of a revocation (docs/commands.md)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a trial. `verdict` is allow, done or a code, `status N` where the answer was a page; it is "" where
    there was no whole answer, and `error` says why. `request_id` is of the last step of several.
    """

    name: str
    trial: Trial
    at: float
    seconds: float
    verdict: str
    status: int
    request_id: str
    error: str


@dataclass
class Mark:
    """What is known of a trial so far."""

    request_id: str
    status: int = 0
    verdict: str = ""
    error: str = ""


Told = Callable[[Outcome], None]


@dataclass
class Callers:
    """Where they call, with what, and whom they tell. Once they are `over` each ends with its trial."""

    bases: list[str]
    credentials: Credentials
    tell: Told
    authority: ssl.SSLContext | None = None
    over: bool = False
    _numbers: "count[int]" = field(default_factory=count)
    _session: aiohttp.ClientSession | None = None

    @property
    def rng(self) -> random.Random:
        """The run's own chance."""
        return self.credentials.rng

    @asynccontextmanager
    async def calling(self) -> AsyncIterator["Callers"]:
        """With connections that are kept for a while."""
        connector = aiohttp.TCPConnector(limit=0, keepalive_timeout=5)
        async with aiohttp.ClientSession(
            connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE),
            cookie_jar=aiohttp.DummyCookieJar(), skip_auto_headers=["Accept-Encoding"],
        ) as self._session:  # fmt: skip
            self._session._retry_connection = False
            yield self

    def _request(self, mark: Mark, method: str, path: str, headers: dict[str, str], body: Any = None) -> Any:  # fmt: skip
        assert self._session is not None
        return self._session.request(
            method, URL(self.rng.choice(self.bases) + path, encoded=True), data=body or None, allow_redirects=False,
            headers={"Host": HOST, "X-Trial": mark.request_id, "X-Request-Id": mark.request_id, **headers},
            ssl=self.authority or True, server_hostname=HOST,
        )  # fmt: skip

    @asynccontextmanager
    async def _trying(self, one: Trial) -> AsyncIterator[Mark]:
        """Tells what became of the mark when it is left, also by an error."""
        name = f"{one.kind.replace(' ', '-')}:{next(self._numbers)}"
        mark, at, began = Mark(name), time.time(), time.monotonic()
        try:
            yield mark
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            mark.verdict, mark.error = "", _word(error)
        seconds = time.monotonic() - began
        self.tell(
            Outcome(name, one, at, seconds, mark.verdict, mark.status, mark.request_id, mark.error)
        )

    async def ask(self, one: Trial) -> Mark:
        """Send a trial; what became of it, which has been told."""
        async with (
            self._trying(one) as mark,
            self._request(
                mark, one.method, one.path, {**ACCEPTS, **one.headers}, one.body
            ) as answer,
        ):
            mark.status = answer.status
            content = await answer.read()
            mark.verdict = _verdict(answer, content)
        return mark

    async def _page(
        self, mark: Mark, path: str, cookie: str, fields: dict[str, str] | None = None
    ) -> tuple[str, str]:
        """The body of a page of ours, or of the answer to its form; and the cookies that it sets."""
        mark.request_id += "/form" if fields is None else "/sent"
        headers = PAGES | ({"Cookie": cookie} if cookie else {})
        method = "GET" if fields is None else "POST"
        async with self._request(mark, method, path, headers, fields) as answer:
            mark.status, mark.verdict = answer.status, f"status {answer.status}"
            return await answer.text(), _cookies(answer)

    async def log_in(self, user: str, password: str = PASSWORD) -> str:
        """The session's cookie; empty where there is none."""
        session = ""
        async with self._trying(LOGIN if password == PASSWORD else WRONG) as mark:
            page, ours = await self._page(mark, "/.authproxy/login?next=/staff/x", "")
            fields = Form(page).fields
            if mark.status == 200 and "csrf" in fields:
                fields |= {"username": user, "password": password}
                _, cookies = await self._page(mark, "/.authproxy/login", ours, fields)
                pairs = [c for c in cookies.split("; ") if c.startswith(f"{COOKIE}=")]
                session = pairs[0] if pairs and mark.status == 303 else ""
                mark.verdict = "done" if session else mark.verdict
        return session

    async def log_out(self, cookie: str) -> bool:
        """Is the session ended, as far as the proxy says?"""
        async with self._trying(LOGOUT) as mark:
            page, _ = await self._page(mark, "/.authproxy/logout", cookie)
            fields = Form(page).fields
            if mark.status == 200 and "csrf" in fields:
                await self._page(mark, "/.authproxy/logout", cookie, fields)
                mark.verdict = "done" if mark.status == 303 else mark.verdict
        return mark.verdict == "done"

    async def people(self, pause: float) -> None:
        """Somebody who logs in, asks, logs out, and tries the old cookie; again and again."""
        while not self.over:
            await self._pause(pause)
            user = self.rng.choice(("ann", "bob"))
            if self.rng.random() < 0.1:
                await self.log_in(user, "wrong")
                continue
            cookie = await self.log_in(user)
            if not cookie:
                continue
            for _ in range(self.rng.randint(1, 8)):
                await self.ask(live_session(cookie, user))
                await self._pause(pause / 8)
            if await self.log_out(cookie):
                dead = dead_session(cookie, "session after logout", time.time())
                for _ in range(4):
                    await self.ask(dead)

    async def requests(self, pause: float) -> None:
        """One trial after another."""
        while not self.over:
            await self._pause(pause)
            await self.ask(trial(self.credentials))

    async def revoking(self, pause: float, revoke: Callable[[str], bool]) -> None:
        """Tokens that are good, until somebody revokes them. `revoke` is called in a thread: was it done?"""
        while not self.over:
            token = self.credentials.issuer.token("rita", groups=["eng"])
            good = Trial("soon revoked", frozenset({ALLOW}), "/api/x", user="rita", headers=bearer(token))  # fmt: skip
            for _ in range(4):
                await self.ask(good)
            if await asyncio.to_thread(revoke, token):
                await asyncio.sleep(KNOWN_WITHIN)
                dead = revoked_lately(token, time.time())
                for _ in range(12):
                    await self.ask(dead)
                    await self._pause(pause / 24)
            await self._pause(pause / 2)

    async def sockets(self, pause: float) -> None:
        """WebSockets that echo for a while; some of them of nobody."""
        while not self.over:
            await self._pause(pause)
            if self.rng.random() < 0.2:
                await self.ask(_upgrade(refused("socket of nobody", "unauthenticated", "/api/ws")))
                continue
            user = self.rng.choice(("alice", "bert"))
            one = Trial("socket", frozenset({ALLOW}), "/api/ws", user=user)
            await self._converse(one, self.rng.randint(1, 10), pause / 8)

    async def _converse(self, one: Trial, messages: int, pause: float) -> None:
        assert self._session is not None
        async with self._trying(one) as mark:
            ids = {"X-Trial": mark.request_id, "X-Request-Id": mark.request_id}
            headers = {"Host": HOST, **ids, **bearer(self.credentials.token(one.user))}
            try:
                async with self._session.ws_connect(
                    self.rng.choice(self.bases) + one.path, headers=headers, ssl=self.authority or True,
                    timeout=aiohttp.ClientWSTimeout(ws_receive=PATIENCE, ws_close=3), server_hostname=HOST,
                ) as socket:  # fmt: skip
                    mark.status = 101
                    for number in range(messages):
                        await socket.send_str(f"{mark.request_id} {number}")
                        message = await socket.receive()
                        if message.type is not aiohttp.WSMsgType.TEXT:
                            mark.error = f"closed {socket.close_code}"
                            return
                        await self._pause(pause)
                    mark.verdict = ALLOW
            except aiohttp.WSServerHandshakeError as error:
                mark.status, mark.verdict = error.status, f"status {error.status}"

    async def _pause(self, mean: float) -> None:
        await asyncio.sleep(self.rng.uniform(0.5, 1.5) * mean)


def _upgrade(one: Trial) -> Trial:
    asked = {
        "Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
    }  # fmt: skip
    return Trial(one.kind, one.verdicts, one.path, headers=asked)


def _verdict(answer: aiohttp.ClientResponse, content: bytes) -> str:
    """Allow where the backend answered; else the code of ours."""
    if MARK in answer.headers:
        return ALLOW
    if answer.content_type == "application/problem+json":
        return str(json.loads(content)["code"])
    return f"status {answer.status}"


def _cookies(answer: aiohttp.ClientResponse) -> str:
    """What a browser would send back."""
    pairs = (one.partition(";")[0] for one in answer.headers.getall("Set-Cookie", []))
    return "; ".join(pair for pair in pairs if not pair.endswith("="))


def _word(error: BaseException) -> str:
    """Why there was no whole answer, in a word."""
    return "timeout" if isinstance(error, TimeoutError) else type(error).__name__
