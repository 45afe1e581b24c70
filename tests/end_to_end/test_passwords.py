"""Passwords over a running server: old hashes that are renewed in its file, and that nobody's time tells who is known."""

import http.client
import os
import statistics
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from argon2 import PasswordHasher

from authproxy.config.users import read_users_file
from tests.end_to_end.fleet import Fleet, fleet
from tests.end_to_end.served import wait_until
from tests.web.portal.browser import PASSWORD, Form, hashed

COOKIE = "__Host-authproxy"
STAFF: dict[str, Any] = {
    "name": "staff", "match": {"paths": ["/staff"]}, "upstream": "app", "authenticate": ["staff"], "allow": "authenticated",
}  # fmt: skip
TRIES = 200


def imported(memory: int, passes: int) -> str:
    """A hash as another program made it."""
    return PasswordHasher(passes, memory, 1).hash(PASSWORD)


@contextmanager
def office(folder: Path, users: dict[str, str], workers: int) -> Iterator[Fleet]:
    """A server whose users file was written an hour ago."""
    file = folder / "users.yaml"
    file.write_text(
        "users:\n" + "".join(f"  {n}:\n    password: {h} # {n}\n" for n, h in users.items())
    )
    os.utime(file, (time.time() - 3600, time.time() - 3600))
    staff = {"type": "password", "users": {"file": str(file)}}
    more: dict[str, Any] = {"failed_authentications": "1000000/minute"}
    with fleet(folder, workers=workers, routes=[STAFF], authenticators={"staff": staff}, **more) as f:  # fmt: skip
        yield f


class Visitor:
    """Somebody with a connection and a form of the login."""

    def __init__(self, f: Fleet) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", f.port, timeout=30)
        answer, body = self._ask("GET", "/.authproxy/login")
        self._fields = Form(body).fields
        self._cookie = (answer.getheader("Set-Cookie") or "").partition(";")[0]

    def _ask(
        self, method: str, target: str, body: str | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        kind = {"Content-Type": "application/x-www-form-urlencoded"} if body is not None else {}
        self._connection.request(method, target, body, {**kind, **headers})
        answer = self._connection.getresponse()
        return answer, answer.read().decode()

    def log_in(self, username: str, password: str) -> tuple[int, str]:
        """The status, and the cookie of the session."""
        fields = self._fields | {"username": username, "password": password}
        body = urlencode(fields)
        answer, _ = self._ask("POST", "/.authproxy/login", body, Cookie=self._cookie)
        cookies = answer.headers.get_all("Set-Cookie") or []
        found = [one.partition(";")[0] for one in cookies if one.startswith(f"{COOKIE}=")]
        return answer.status, "".join(found)

    def close(self) -> None:
        """Leave."""
        self._connection.close()


def may(f: Fleet, cookie: str) -> set[int]:
    """What a session is answered, on so many connections that every worker is asked."""
    found = set()
    for _ in range(16):
        connection = http.client.HTTPConnection("127.0.0.1", f.port, timeout=10)
        connection.request("GET", "/staff", headers={"Cookie": cookie})
        found.add(connection.getresponse().status)
        connection.close()
    return found


def test_an_old_hash_is_renewed_and_nobody_is_logged_out(tmp_path: Path) -> None:
    """By whichever of two workers the login comes to; a hash that is changed by hand afterwards ends the sessions."""
    weak = {"ann": imported(1024, 1), "bob": imported(1024, 1)}
    with office(tmp_path, weak, 2) as f:
        file, visitor = tmp_path / "users.yaml", Visitor(f)
        sessions = [visitor.log_in("ann", PASSWORD)[1] for _ in range(3)]
        assert wait_until(lambda: weak["ann"] not in file.read_text())
        after = read_users_file(file).by_name
        assert after["ann"].password.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
        assert after["bob"].password == weak["bob"]
        assert (file.read_text().count("# ann"), file.stat().st_mode & 0o777) == (1, 0o644)
        assert f.says("reloaded ", 2)
        assert [may(f, one) for one in sessions] == [{200}] * 3
        assert visitor.log_in("ann", PASSWORD)[0] == 303
        assert visitor.log_in("ann", "wrong")[0] == 401
        file.write_text(file.read_text().replace(after["ann"].password, hashed()))
        assert f.says("reloaded ", 4)
        assert [may(f, one) for one in sessions] == [{401}] * 3
        visitor.close()


@pytest.mark.slow  # minutes on a busy machine, and a clock that others disturb
def test_the_time_of_a_try_tells_nobody_who_is_known(tmp_path: Path) -> None:
    """Users with hashes of three kinds and names that nobody has, 200 tries of each, in turn: medians within a tenth."""
    kinds = {"weak": (4096, 1), "usual": (19_456, 2), "strong": (32_768, 2)}
    users = {
        f"{kind}-{n}": imported(*cost) for kind, cost in kinds.items() for n in range(TRIES // 20)
    }
    took: dict[str, list[float]] = {kind: [] for kind in (*kinds, "nobody")}
    with office(tmp_path, users, 1) as f:
        visitor = Visitor(f)
        for n in range(TRIES):
            for kind, times in took.items():
                began = time.perf_counter()
                assert visitor.log_in(f"{kind}-{n % (TRIES // 20)}", "wrong")[0] == 401
                times.append(time.perf_counter() - began)
        visitor.close()
    medians = {kind: statistics.median(times) for kind, times in took.items()}
    for kind in kinds:
        assert 0.9 < medians["nobody"] / medians[kind] < 1.1, medians
