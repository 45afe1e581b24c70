"""Forged tokens from one address, logins all at once: they are answered cheaply or in their turn, and others hardly notice."""

import asyncio
import http.client
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.end_to_end import flood, logins
from tests.end_to_end.fleet import Fleet, fleet, guarded
from tests.end_to_end.load import Link
from tests.end_to_end.served import configuration
from tests.web.portal.browser import Form, users_text

RATE, SECONDS = 2_000, 6
ASKED = 600


@contextmanager
def beside(script: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """While this lasts, a script of ours runs in a process of its own."""
    command = [sys.executable, script, *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        time.sleep(0.5)
        yield process
    finally:
        process.kill()
        process.wait()


def median_latency(f: Fleet) -> float:
    """Of requests with a good token from another address, one after the other, in seconds."""

    async def ask() -> float:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", f.port, local_addr=("127.0.0.2", 0)
        )
        f.background.writers.append(writer)
        link, token, took = Link(reader, writer), f.issuer.token("alice"), []
        for _ in range(ASKED):
            began = time.perf_counter()
            assert (await link.ask("/guarded", token))[0] == 200
            took.append(time.perf_counter() - began)
            await asyncio.sleep(0.002)
        link.close()
        return statistics.median(took)

    return f.background.do(ask())


@pytest.mark.slow
def test_a_flood_of_forged_tokens_does_not_double_the_latency_of_others(tmp_path: Path) -> None:
    """After the bound on failed authentications nothing of that address is verified any more."""
    with fleet(
        tmp_path, workers=1, routes=[guarded("guarded")], failed_authentications="30/minute"
    ) as f:
        calm = min(median_latency(f) for _ in range(2))
        arguments = (str(f.port), str(RATE), str(SECONDS), f.issuer.token("mallory"))
        with beside(flood.__file__, *arguments) as process:
            busy = median_latency(f)
            told, _ = process.communicate(timeout=30)
        statuses = {k: int(n) for k, n in (pair.split(":") for pair in told.split())}
        assert sum(statuses.values()) > RATE * SECONDS * 0.9
        assert statuses["401"] <= 90  # 30 a minute, in a sliding window that may begin anew
        assert busy < 2 * calm, f"{busy * 1e6:.0f} µs against {calm * 1e6:.0f} µs"


def form_of(f: Fleet) -> tuple[str, str]:
    """The login form's cookie and its token."""
    connection = http.client.HTTPConnection("127.0.0.1", f.port, timeout=10)
    connection.request(
        "GET", "/.authproxy/login", headers={"Host": "a.test", "Accept": "text/html"}
    )
    answer = connection.getresponse()
    cookie, page = (answer.getheader("Set-Cookie") or "").partition(";")[0], answer.read().decode()
    connection.close()
    return cookie, Form(page).fields["csrf"]


@pytest.mark.slow
def test_a_thousand_logins_at_once_do_not_double_the_latency_of_others(tmp_path: Path) -> None:
    """They are hashed one after the other, behind the requests; those that would wait too long are told so."""
    (tmp_path / "users.yaml").write_text(users_text())
    staff = {"type": "password", "users": {"file": str(tmp_path / "users.yaml")}}
    authenticators = {**configuration({})["authenticators"], "staff": staff}
    with fleet(
        tmp_path, workers=1, routes=[guarded("guarded")], authenticators=authenticators
    ) as f:
        calm = min(median_latency(f) for _ in range(2))
        with beside(logins.__file__, str(f.port), "1000", *form_of(f)) as process:
            busy = median_latency(f)
            told, _ = process.communicate(timeout=60)
        statuses = {k: int(n) for k, n in (pair.split(":") for pair in told.split())}
        assert sum(statuses.values()) == 1000
        assert set(statuses) <= {"401", "503"}
        assert statuses["401"] >= 256
        assert busy < 2 * calm, f"{busy * 1e6:.0f} µs against {calm * 1e6:.0f} µs"
