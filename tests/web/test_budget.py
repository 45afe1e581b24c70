"""What a request costs, counted instead of timed: calls of functions do not depend on the machine's mood.

The path is the usual one: a route with groups, a limit per subject, a known RS256-like identity, a JSON access log, over a
kept connection, to a small answer over a kept connection. `make bench` measures the same path in µs.
"""

import re
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

from authproxy.model.rate import parse_rate
from authproxy.web import chain
from authproxy.web.chain import CHAIN
from authproxy.web.compat import Request
from tests.playbook import GUARDED, Proxy, playbook, token
from tests.web.portal.browser import COOKIE, Browser, office
from tests.wire import Link, request

# Python functions entered for a request, the server's own loop and the backend's side of the connection among them, with
# the state in memory. It stands as measured: one step more is over it, and a change that spares calls lowers it.
CALLS_MOST = 108
OURS = re.compile(r"/(?:authproxy|aiohttp|limits|lmdb)/(?!.*tests/)")
COMPREHENSION = re.compile("<(?:list|dict|set)comp>")  # from Python 3.12 on they are no functions
REQUESTS, TIMES = 50, 3
ROUTE = GUARDED | {
    "allow": [{"groups": ["eng"]}],
    "rate_limits": [{"limit": "1000000/hour", "per": "subject"}],
}


SESSION_MOST = (
    1.3  # calls of a request with a session, by those of one with a token to the same route
)


async def ask(link: Link, credential: str | bytes) -> None:
    """One request (by this token to the guarded route, or these very bytes), and its whole answer."""
    data = credential
    if isinstance(data, str):
        data = request("GET", "/guarded/1", token=data)
    await link.send(data)
    assert b" 200 " in await link.head()
    await link.reader.readexactly(5)


async def calls_of_a_request(p: Proxy) -> int:
    """How many of our own and of aiohttp's functions are entered for one; what comes by the clock is left out."""
    credential, link = token(groups=["eng"]), await p.connect()
    for _ in range(20):
        await ask(link, credential)
    found = [await counted_calls(link, credential) for _ in range(TIMES)]
    link.close()
    return min(found) // REQUESTS


async def counted_calls(link: Link, credential: str | bytes) -> int:
    """Of so many requests, with the ticks that fall between them."""
    counted = 0

    def count(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal counted
        code = frame.f_code
        if (
            event == "call"
            and OURS.search(code.co_filename)
            and not COMPREHENSION.match(code.co_name)
        ):
            counted += 1

    sys.setprofile(count)
    try:
        for _ in range(REQUESTS):
            await ask(link, credential)
    finally:
        sys.setprofile(None)
    return counted


async def test_the_usual_request_keeps_to_its_budget_of_calls() -> None:
    """A regression of the fast path shows here before it shows in a benchmark."""
    async with playbook(ROUTE) as p:
        calls = await calls_of_a_request(p)
    assert calls <= CALLS_MOST, f"{calls} calls a request"


async def test_the_budget_has_no_room_for_a_step(monkeypatch: pytest.MonkeyPatch) -> None:
    """One step more, and one that calls a single function, are both over the budget: so it is worth something."""

    def step(_request: Request) -> None:
        return None

    def calling(_request: Request) -> None:
        parse_rate("1/second")

    for more in (step, calling):
        # The code of a step of ours is in our folder; here it is in the tests'.
        more.__code__ = more.__code__.replace(co_filename=chain.__file__)
        monkeypatch.setattr(chain, "CHAIN", (*CHAIN[:-1], more, CHAIN[-1]))
        async with playbook(ROUTE) as p:
            calls = await calls_of_a_request(p)
        assert calls > CALLS_MOST, f"with a step more it is {calls}: lower CALLS_MOST"


async def test_a_session_costs_little_more_than_a_token(tmp_path: Path) -> None:
    """It is looked up at each request, and yet enters at most 1.3 times the functions that a known token does."""
    async with office(tmp_path) as p:
        browser = Browser(p)
        await browser.log_in(wanted="/staff/x")
        cookie = [("Cookie", f"{COOKIE}={browser.cookies[COOKIE]}"), ("Sec-Fetch-Site", "same-origin")]  # fmt: skip
        link, calls = await p.connect(), []
        for data in (request("GET", "/staff/1", token=token()), request("GET", "/staff/1", cookie)):
            for _ in range(20):
                await ask(link, data)
            calls.append(min([await counted_calls(link, data) for _ in range(TIMES)]))
        link.close()
    assert calls[1] <= SESSION_MOST * calls[0], calls
