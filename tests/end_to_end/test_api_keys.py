"""API keys while a server of several workers runs: made and revoked by the command, known everywhere within a second."""

import http.client
import json
import time
from pathlib import Path

from tests.end_to_end.fleet import Fleet, fleet, guarded
from tests.end_to_end.served import run, wait_until

SETTINGS = {"authenticators": {"keys": {"type": "api-key"}}}
ROUTE = guarded("orders", authenticate=["keys"])


def command(f: Fleet, *args: str) -> str:
    done = run("key", *args, "--config", str(f.file))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.strip()


def ask(f: Fleet, key: str) -> tuple[int, str]:
    """Status and code, on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", f.port, timeout=10)
    try:
        connection.request("GET", "/orders", headers={"X-API-Key": key})
        answer = connection.getresponse()
        body = answer.read()
        return answer.status, "" if answer.status == 200 else json.loads(body)["code"]
    finally:
        connection.close()


def test_made_used_and_revoked_while_it_runs(tmp_path: Path) -> None:
    """A new key is good at once, a revoked one bad in all workers within a second, also after a restart; its use is listed."""
    with fleet(tmp_path, workers=3, routes=[ROUTE], **SETTINGS) as f:
        key, other = command(f, "create", "build", "--group", "ci"), command(f, "create", "other")
        assert {ask(f, key) for _ in range(24)} == {(200, "")}
        assert {ask(f, other) for _ in range(24)} == {(200, "")}
        found = wait_until(
            lambda: [k for k in json.loads(command(f, "list", "--format", "json")) if k["used"]]
        )
        key_id = next(k["id"] for k in found if k["name"] == "build")
        command(f, "revoke", key_id)
        time.sleep(1)
        assert {ask(f, key) for _ in range(24)} == {(401, "token_revoked")}
        assert {ask(f, other) for _ in range(24)} == {(200, "")}
        assert ask(f, key[:-1] + "!") == (401, "token_invalid")
        assert key not in f.served.output() + f.served.errors()
    with fleet(tmp_path, workers=1, routes=[ROUTE], **SETTINGS) as f:
        assert ask(f, key) == (401, "token_revoked")
        assert ask(f, other) == (200, "")
