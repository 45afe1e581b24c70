"""What an operator revokes is refused by every worker within a second: those that knew it, those that come later."""

import subprocess
import time
from pathlib import Path

from tests.end_to_end.fleet import Fleet, fleet, guarded, kill
from tests.end_to_end.served import PROGRAM, Served, wait_until

ROUTES = [guarded("app")]


def revoke(f: Fleet, *args: str, given: str = "") -> float:
    """`authproxy token revoke` beside the running server; when it was done."""
    command = [*PROGRAM, "token", "revoke", *args, "--config", str(f.file)]
    done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("revoked: ")
    return time.monotonic()


def test_every_worker_knows_within_a_second(tmp_path: Path) -> None:
    """On kept connections and new ones, cached identities too; others of the same subject go on; metrics tell."""
    with fleet(tmp_path, workers=3, routes=ROUTES) as f:
        token, other = f.issuer.token("alice", jti="1"), f.issuer.token("alice", jti="2")
        links = [f.background.do(f.background.link(f.port)) for _ in range(12)]
        assert {f.background.do(link.ask("/app", token))[0] for link in links} == {200}
        assert {f.background.do(link.ask("/app", other))[0] for link in links} == {200}
        done = revoke(f, "-", given=token)
        wait_until(lambda: f.everywhere("/app", token, 6) == {401}, 2)
        assert {f.background.do(link.ask("/app", token))[0] for link in links} == {401}
        assert time.monotonic() - done < 1.5  # a second, and a busy machine
        assert f.everywhere("/app", token) == {401}
        assert {f.background.do(link.ask("/app", other))[0] for link in links} == {200}
        assert f.metric("authproxy_refusals_total", code="token_revoked", route="app") >= 28
        assert wait_until(lambda: f.metric("authproxy_revocations") == 1)
        for link in links:
            link.close()


def test_a_worker_that_comes_later_knows_from_its_first_request_on(tmp_path: Path) -> None:
    """Whoever replaces a killed worker, and a server that was started anew, refuses what was revoked before."""
    with fleet(tmp_path, workers=2, routes=ROUTES) as f:
        token = f.issuer.token("alice")
        assert f.everywhere("/app", token) == {200}
        revoke(f, "--subject", "alice", "--authenticator", "tokens")
        assert f.becomes("/app", 401, token=token)
        victim = f.workers()[0]
        kill(victim)
        wait_until(lambda: len(f.workers()) == 2 and victim not in f.workers(), 5)
        assert f.everywhere("/app", token, 40) == {401}
        assert f.served.stop() == 0
        f.served = Served(f.file)
        assert f.everywhere("/app", token, 10) == {401}


def test_what_is_revoked_stays_so_while_the_state_is_away(tmp_path: Path) -> None:
    """Taken from under a running server, the list goes on as it was; one that starts without it lets nobody in."""
    with fleet(tmp_path, workers=2, routes=ROUTES) as f:
        revoked, good = f.issuer.token("alice"), f.issuer.token("bob")
        revoke(f, "-", given=revoked)
        assert f.becomes("/app", 401, token=revoked)
        records = tmp_path / "state" / "records"
        records.rename(tmp_path / "away")
        records.write_text("a file where a directory should be")
        assert f.says("the durable records cannot be used; this worker goes on as it was")
        assert f.everywhere("/app", revoked) == {401}
        assert f.everywhere("/app", good) == {200}
        kill(f.workers()[0])
        assert f.says("the durable records cannot be used; this worker lets no identity in")
        assert 503 in f.everywhere("/app", good, 40) <= {200, 503}
        assert f.everywhere("/app", revoked, 40) <= {401, 503}
        records.unlink()
        (tmp_path / "away").rename(records)
        assert f.becomes("/app", 200, token=good)
        assert f.everywhere("/app", revoked) == {401}
