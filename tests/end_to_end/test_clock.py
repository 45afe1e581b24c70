"""A clock that jumps an hour, forth and back, under a running server (Debian's faketime): it goes on, and lets nobody in
who was put out.
"""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.fleet import OPEN, Fleet, fleet, guarded
from tests.end_to_end.nginx import need
from tests.end_to_end.served import run, wait_until

HOUR = 3600
LIMITED = [
    guarded(name, rate_limits=[{"limit": "3/minute", "per": "subject", "strategy": name}])
    for name in ("fixed-window", "sliding-window-counter", "moving-window")
]


def library() -> str:
    """What is loaded before the C library to tell another time."""
    need("faketime")
    found = [str(p) for p in Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")]
    assert found, "faketime is there, its library is not"
    return found[0]


class Clock:
    """The wall clock of the server, so many seconds from ours."""

    def __init__(self, f: Fleet, file: Path) -> None:
        self._fleet, self._file = f, file

    def set(self, seconds: int) -> None:
        """Jump there, and until every worker has: each answers what is good for its time alone."""
        new = self._file.with_suffix(".new")
        new.write_text(f"{seconds:+d}\n")
        new.rename(self._file)
        now = int(time.time()) + seconds
        proof = self._fleet.issuer.token("clock", iat=now, exp=now + 60)
        assert self._fleet.becomes("/private", 200, token=proof)


@pytest.fixture
def clocked(tmp_path: Path) -> Iterator[tuple[Fleet, Clock]]:
    """Two workers whose clock can be set."""
    file = tmp_path / "clock"
    file.write_text("+0\n")
    environ = {
        "LD_PRELOAD": library(), "FAKETIME_TIMESTAMP_FILE": str(file), "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1",
    }  # fmt: skip
    routes: list[dict[str, Any]] = [OPEN, guarded("private"), *LIMITED]
    with fleet(tmp_path, routes=routes, environ=environ) as f:
        yield f, Clock(f, file)


def token(issuer: Issuer, subject: str, at: int = 0) -> str:
    """Good for ten minutes from that many seconds from now."""
    now = int(time.time()) + at
    return issuer.token(subject, iat=now, exp=now + 600)


def test_a_jump_of_an_hour_lets_nobody_in_and_ends_nothing(clocked: tuple[Fleet, Clock]) -> None:
    """Forth, back, and back once more: tokens are judged by the new time, whoever is revoked stays so, limits still limit."""
    f, clock = clocked
    good, bad = token(f.issuer, "alice"), token(f.issuer, "mallory")
    done = run("token", "revoke", bad, "--config", str(f.file))
    assert done.returncode == 0, done.stderr
    assert wait_until(lambda: f.everywhere("/private", bad) == {401}, 3)
    for number, jump in enumerate((HOUR, 0, -HOUR, 0)):
        clock.set(jump)
        assert f.everywhere("/") == {200}
        if jump > 0:
            assert f.everywhere("/private", good) == {401}
        if jump == 0:
            assert f.everywhere("/private", good) == {200}
        time.sleep(1.5)  # upkeep has looked at what is over
        assert f.everywhere("/private", bad) == {401}
        caller = token(f.issuer, f"caller {number}", jump)
        for route in LIMITED:
            statuses = [f.ask(f"/{route['name']}", caller) for _ in range(8)]
            assert 1 <= statuses.count(200) <= 6
            assert set(statuses) <= {200, 429}

    assert "Traceback" not in f.served.errors()
