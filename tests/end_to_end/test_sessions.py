"""Sessions over several workers: one that is revoked is refused by all of them at once, and after a restart."""

import asyncio
import http.client
import statistics
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authproxy.authn.password_mark import password_mark
from authproxy.authn.sessions import Sessions
from authproxy.config.users import User
from authproxy.state.opening import open_records
from tests.end_to_end.fleet import Fleet, fleet
from tests.end_to_end.served import PROGRAM, Served
from tests.web.portal.browser import hashed, users_text

COOKIE = "__Host-authproxy"
STAFF: dict[str, Any] = {
    "name": "staff", "match": {"paths": ["/staff"]}, "upstream": "app", "authenticate": ["staff"], "allow": "authenticated",
}  # fmt: skip
MANY = 1_000


def begin(folder: Path, count: int) -> list[str]:
    """The ids of so many sessions of ann, as logins would have made them."""
    mark = password_mark(User(password=hashed(), groups=["eng"], email="ann@x.test"))
    records = open_records("lmdb:state", folder)

    async def create() -> list[str]:
        sessions = Sessions(records, 1800.0, 43_200.0)
        made = []
        for number in range(count):  # one user has a hundred at most
            subject = f"user-{number}"
            made.append(
                (await sessions.create("staff", subject, {"password": mark}, time.time()))[0]
            )
        return made

    try:
        return asyncio.run(create())
    finally:
        records.close()


@pytest.fixture
def office(tmp_path: Path) -> Iterator[Fleet]:
    """Four workers, and as many users as there are sessions."""
    user = users_text().splitlines()[1].replace("  ann:", "  user-{}:")
    lines = [user.replace("{}", str(n), 1) for n in range(MANY)]
    (tmp_path / "users.yaml").write_text("users:\n" + "\n".join(lines) + "\n")
    staff = {"type": "password", "users": {"file": str(tmp_path / "users.yaml")}}
    with fleet(tmp_path, workers=4, routes=[STAFF], authenticators={"staff": staff}) as f:
        yield f


def status(f: Fleet, session_id: str) -> int:
    """What a session is answered, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", f.port, timeout=10)
    try:
        connection.request("GET", "/staff", headers={"Cookie": f"{COOKIE}={session_id}"})
        return connection.getresponse().status
    finally:
        connection.close()


def program(f: Fleet, *arguments: str) -> str:
    """What a command beside the running server says."""
    command = [*PROGRAM, *arguments, "--config", str(f.file)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


def test_a_revoked_session_is_refused_by_every_worker(office: Fleet) -> None:
    """One of a thousand: within a second, everywhere, and the others go on; after a restart as well."""
    f = office
    ids = begin(f.folder, MANY)
    assert [status(f, one) for one in ids[:40]] == [200] * 40
    listed = program(f, "session", "list").splitlines()
    assert len(listed) == MANY
    assert (
        program(f, "session", "revoke", "--subject", "user-7", "--authenticator", "staff")
        == "ended 1 session\n"
    )
    revoked = time.monotonic()
    found = {status(f, ids[7]) for _ in range(32)}
    assert time.monotonic() - revoked < 1
    assert found == {401}
    assert [status(f, one) for one in (*ids[:7], *ids[8:40])] == [200] * 39
    f.served.stop()
    f.served = Served(f.file)
    assert {status(f, ids[7]) for _ in range(16)} == {401}
    assert [status(f, one) for one in ids[-8:]] == [200] * 8
    assert statistics.mean(status(f, f"{one}x") for one in ids[:8]) == 401
