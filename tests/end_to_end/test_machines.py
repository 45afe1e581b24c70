"""Two machines on one Redis, behind a load balancer: one limit, one session, one revocation over both."""

import http.client
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.end_to_end.fleet import Fleet, fleet, guarded
from tests.end_to_end.haproxy import Haproxy
from tests.end_to_end.load import Background, Tally, hammer
from tests.end_to_end.served import run, wait_until
from tests.redis_server import RedisServer
from tests.web.portal.browser import PASSWORD, Form, users_text

LIMIT = 1_000
ROUTES = [
    guarded("limited", rate_limits=[{"limit": f"{LIMIT}/minute", "per": "subject"}]),
    guarded("fixed", rate_limits=[{"limit": f"{LIMIT}/minute", "per": "subject", "strategy": "fixed-window"}]),
    guarded("plain"),
    guarded("staff", authenticate=["staff"]),
]  # fmt: skip


@dataclass
class Machines:
    """Two proxies of two workers each, on two addresses, with the same keys and users."""

    fleets: list[Fleet]
    front: Haproxy
    redis: RedisServer
    background: Background = field(default_factory=Background)

    def token(self, subject: str = "ann") -> str:
        """Good on both."""
        return self.fleets[0].issuer.token(subject)


@contextmanager
def machines(folder: Path, **settings: Any) -> Iterator[Machines]:
    """Both running, and what stands around them."""
    (folder / "users.yaml").write_text(users_text())
    staff = {"type": "password", "users": {"file": str(folder / "users.yaml")}}
    with ExitStack() as stack:
        redis = RedisServer()
        stack.callback(redis.close)
        fleets: list[Fleet] = []
        for number, address in enumerate(("127.0.0.1", "127.0.0.2")):
            (folder / address).mkdir()
            made = fleet(
                folder / address, routes=ROUTES, workers=2,
                listeners=[{"address": f"{address}:0"}], state={"url": redis.url, **settings},
                authenticators={"staff": staff, "tokens": TOKENS},
            )  # fmt: skip
            fleets.append(stack.enter_context(made))
            if number:  # one issuer for both
                keys = folder / "127.0.0.1" / "jwks.json"
                (folder / address / "jwks.json").write_bytes(keys.read_bytes())
                fleets[1].reload()
        front = Haproxy(folder / "haproxy", [one.served.listen[0] for one in fleets])
        stack.callback(front.stop)
        found = Machines(fleets, front, redis)
        stack.callback(found.background.stop)
        yield found


TOKENS = {
    "type": "jwt", "issuer": "https://issuer.test", "audiences": ["api"], "algorithms": ["RS256", "ES256"],
    "keys": {"file": "jwks.json"}, "issue_with": {"file": "signing.pem"},
}  # fmt: skip


class Visitor:
    """Somebody with a browser, who may come to any of the machines."""

    def __init__(self) -> None:
        self.cookies: dict[str, str] = {}

    def go(self, address: str, path: str, form: dict[str, str] | None = None) -> tuple[int, str]:
        """Ask for a page, or send a form; the status, and the page."""
        host, _, port = address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=10)
        headers = {"Host": "a.test", "Cookie": "; ".join(f"{k}={v}" for k, v in self.cookies.items())}  # fmt: skip
        if not self.cookies:
            del headers["Cookie"]
        if form is not None:
            headers |= {"Content-Type": "application/x-www-form-urlencoded", "Origin": "http://a.test"}  # fmt: skip
        try:
            connection.request(
                "GET" if form is None else "POST", path,
                urlencode(form) if form is not None else None, headers,
            )  # fmt: skip
            answer = connection.getresponse()
            page = answer.read().decode()
        finally:
            connection.close()
        for cookie in answer.headers.get_all("Set-Cookie") or []:
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        return answer.status, page

    def log_in(self, address: str) -> int:
        """As ann, with her password."""
        form = Form(self.go(address, "/.authproxy/login?next=/staff")[1])
        fields = form.fields | {"username": "ann", "password": PASSWORD}
        return self.go(address, form.action, fields)[0]


def passed(m: Machines, path: str, subject: str) -> Counter[int]:
    """The statuses of 1,600 requests of one subject, from 64 clients at once through the load balancer, in one minute."""
    while time.time() % 60 > 54:  # a window must not end meanwhile
        time.sleep(0.5)
    tally = Tally()
    m.background.do(
        hammer(m.background, m.front.port, tally, 64, each=25, path=path, token=m.token(subject))
    )
    assert tally.failed == []
    return tally.statuses


def test_one_limit_and_one_session_over_both(tmp_path: Path) -> None:
    """1,000 a minute are 1,000 in all; who logs in here is known there, and nowhere after leaving, in any worker."""
    with machines(tmp_path) as m:
        assert passed(m, "/limited", "ann") == {200: LIMIT, 429: 600}
        here, there = (one.served.listen[0] for one in m.fleets)
        visitor = Visitor()
        assert visitor.log_in(here) in {302, 303}
        for address in (here, there) * 4:
            assert visitor.go(address, "/staff")[0] == 200
        kept = dict(visitor.cookies)
        form = Form(visitor.go(there, "/.authproxy/logout")[1])
        assert visitor.go(there, "/.authproxy/logout", form.fields)[0] in {200, 302, 303}
        visitor.cookies = kept
        assert {visitor.go(address, "/staff")[0] for address in (here, there) * 8} == {401}
        token = m.token("eve")
        assert run("token", "revoke", token, "--config", str(m.fleets[0].file)).returncode == 0
        assert m.fleets[0].becomes("/plain", 401, 1.0, token)
        revoked = wait_until(lambda: visitor_by(token, there) == 401, 1.0)
        assert revoked


def visitor_by(token: str, address: str) -> int:
    """What a token is answered there."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=10)
    try:
        connection.request("GET", "/plain", headers={"Authorization": f"Bearer {token}"})
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.slow
@pytest.mark.parametrize("path", ["/limited", "/fixed"])
def test_a_limit_is_exact_ten_times_of_ten_over_machines(tmp_path: Path, path: str) -> None:
    """Ten runs of ten: 1,000 of 1,600 requests pass."""
    with machines(tmp_path) as m:
        for one in range(10):
            assert passed(m, path, f"subject-{one}") == {200: LIMIT, 429: 600}
