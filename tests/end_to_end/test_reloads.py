"""Reloading while serving: on SIGHUP and when files change; taken over whole or not at all, and no request fails."""

import json
import re
import signal
import socket
import ssl
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.fleet import OPEN, RELOADED, Fleet, fleet, guarded, kill
from tests.end_to_end.load import QuickBackend, Tally, hammer
from tests.end_to_end.served import wait_until

SHUT = {**guarded("x"), "match": {"paths": ["/**"]}}
EXTRA = {**OPEN, "name": "extra", "match": {"paths": ["/extra"]}}


def test_policies_change_in_all_workers(tmp_path: Path) -> None:
    """After SIGHUP every worker decides by the new policies, kept connections among them."""
    with fleet(tmp_path, workers=4) as f:
        kept = f.background.do(f.background.link(f.port))
        assert f.background.do(kept.ask())[0] == 200
        f.write_routes([SHUT])
        f.reload()
        assert f.everywhere("/") == {401}
        assert f.background.do(kept.ask())[0] == 401


def test_files_are_watched(tmp_path: Path) -> None:
    """A change in place, a rename, a new file, a removal and the symlink swap of Kubernetes take effect within seconds."""
    versions = tmp_path / "policies"
    with fleet(tmp_path, workers=2) as f:
        path = versions / "routes.yaml"
        path.write_text(yaml.safe_dump({"routes": [SHUT]}))
        assert f.becomes("/", 401)
        f.write_routes([OPEN])
        assert f.becomes("/", 200)
        new = f.write_routes([{**EXTRA, "authenticate": ["tokens"], "allow": "authenticated"}], "new.yaml")  # fmt: skip
        assert f.becomes("/extra", 401)
        new.unlink()
        assert f.becomes("/extra", 200)
        mounted(versions, "one", [OPEN])
        path.unlink()
        path.symlink_to("..data/routes.yaml")
        mounted(versions, "two", [SHUT])
        assert f.becomes("/", 401)
        mounted(versions, "three", [OPEN])
        assert f.becomes("/", 200)
        assert f.metric(RELOADED) == 1


def mounted(folder: Path, version: str, routes: list[dict[str, Any]]) -> None:
    """Put files there as Kubernetes does: a directory of their own, and `..data` swapped to it."""
    made = folder / f"..{version}"
    made.mkdir()
    (made / "routes.yaml").write_text(yaml.safe_dump({"routes": routes}))
    (folder / "..data_tmp").symlink_to(made.name)
    (folder / "..data_tmp").rename(folder / "..data")


def test_a_bad_file_keeps_the_old(tmp_path: Path) -> None:
    """What is wrong is said with its place and shown in the metric; all goes on as before, also in a worker started anew."""
    with fleet(tmp_path, workers=2) as f:
        path = f.folder / "policies" / "routes.yaml"
        good = path.read_text()
        path.write_text(good + "nonsense: [1\n")
        assert wait_until(lambda: f.metric(RELOADED) == 0, 6)
        assert re.search(r"routes\.yaml:\d+:\d+: error: ", f.served.errors())
        victim = f.workers()[0]
        kill(victim)
        assert wait_until(lambda: victim not in f.workers() and len(f.workers()) == 2)
        assert f.everywhere("/") == {200}
        assert f.metric(RELOADED) == 0
        path.unlink()
        assert f.says("no-policies")
        path.write_text(good.replace("/**", "/only"))
        assert f.becomes("/", 404)
        assert f.metric(RELOADED) == 1
        victim = f.workers()[0]
        kill(victim)
        assert wait_until(lambda: victim not in f.workers() and len(f.workers()) == 2)
        assert f.everywhere("/") == {404}


def test_a_new_file_that_is_wrong_is_watched_too(tmp_path: Path) -> None:
    """A file that came with a mistake is taken up once it is mended in place."""
    with fleet(tmp_path, workers=1) as f:
        new = f.folder / "policies" / "extra.yaml"
        new.write_text("routes: [")
        assert f.says("extra.yaml:2:1: error: ")
        new.write_text(yaml.safe_dump({"routes": [EXTRA | {"match": {"paths": ["/a"], "methods": ["PUT"]}}]}))  # fmt: skip
        assert f.becomes("/a", 405)


@pytest.mark.parametrize("workers", [1, 2])
def test_what_needs_a_restart_is_refused_as_a_whole(tmp_path: Path, workers: int) -> None:
    """Changed listeners, workers, state or admin: none of the reload is taken, each is named with its place and a remedy."""
    with fleet(tmp_path, workers=workers, state={"url": "lmdb:state"}) as f:
        f.write_routes([SHUT])
        f.write_config(
            listeners=[{"address": "127.0.0.1:1"}],
            admin=False,
            workers=3,
            state={"url": "lmdb:other"},
        )
        f.served.signal(signal.SIGHUP)
        assert f.says("needs-restart", 4)
        for name in ("listeners", "admin", "workers", "state"):
            text = rf"authproxy\.yaml:\d+:\d+: error: needs-restart: `{name}` .* — restart"
            assert re.search(text, f.served.errors())
        assert f.everywhere("/") == {200}
        assert f.metric(RELOADED) == 0
        f.write_config()
        assert f.becomes("/", 401)
        assert f.metric(RELOADED) == 1


def served_certificate(port: int, authority: Authority) -> bytes:
    """The certificate that a new connection gets."""
    context = ssl.create_default_context(cafile=str(authority.file))
    with (
        socket.create_connection(("127.0.0.1", port), 5) as raw,
        context.wrap_socket(raw, server_hostname="a.test") as tls,
    ):
        return tls.getpeercert(binary_form=True) or b""


def test_certificates_are_replaced_without_cutting_anybody(tmp_path: Path) -> None:
    """New connections get the new certificate, from every worker and from one started later; old ones go on."""
    authority = Authority(tmp_path / "authority")
    pair = authority.issue("a.test")
    tls = {
        "certificates": [
            {"certificate": str(pair.certificate), "private_key": str(pair.private_key)}
        ]
    }
    with fleet(tmp_path, listeners=[{"address": "127.0.0.1:0", "tls": tls}]) as f:
        context = ssl.create_default_context(cafile=str(authority.file))
        raw = socket.create_connection(("127.0.0.1", f.port), 5)
        with context.wrap_socket(raw, server_hostname="a.test") as kept:
            before = kept.getpeercert(binary_form=True)
            authority.issue("a.test")  # into the same files
            f.reload()
            after = {served_certificate(f.port, authority) for _ in range(12)}
            assert len(after) == 1
            assert before not in after
            kept.sendall(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            assert kept.recv(100).startswith(b"HTTP/1.1 200")
        for victim in f.workers():
            kill(victim)
            wait_until(lambda dead=victim: dead not in f.workers() and len(f.workers()) == 2)  # type: ignore[misc]
        assert {served_certificate(f.port, authority) for _ in range(12)} == after


def test_a_withdrawn_key_is_refused_at_once(tmp_path: Path) -> None:
    """Tokens of a key that is no longer in the set are refused after the reload, identities that were cached too."""
    with fleet(tmp_path, workers=2, routes=[guarded("private")]) as f:
        token, other = f.issuer.token(), Issuer()
        assert f.everywhere("/private", token) == {200}
        Path(f.folder / "jwks.json").write_text(json.dumps(other.jwks()))
        f.reload()
        assert f.everywhere("/private", token) == {401}
        assert f.everywhere("/private", other.token()) == {200}


def test_what_has_not_changed_is_taken_over(tmp_path: Path) -> None:
    """Connections to an unchanged upstream are kept; those of a changed one finish what they carry, and no more."""
    with fleet(tmp_path, workers=1) as f:
        assert {f.ask() for _ in range(3)} == {200}
        f.write_routes([OPEN, EXTRA])
        f.reload()
        assert f.ask("/extra") == 200
        assert f.backend.connections == 1
        other = QuickBackend(f.background, b"other")
        on = f.background.do(f.background.link(f.port))
        slow = f.background.begin(on.ask("/wait/10/"))
        assert wait_until(lambda: f.backend.connections == 1, 1)
        time.sleep(0.2)
        f.write_config(upstreams={"app": {"servers": [f"http://127.0.0.1:{other.port}"]}})
        f.reload()
        fresh = f.background.do(f.background.link(f.port))
        assert f.background.do(fresh.ask()) == (200, b"other")
        assert slow() == (200, b"quick")
        assert f.background.do(on.ask()) == (200, b"other")
        other.stop()


def test_requests_finish_under_the_policies_they_began_with(tmp_path: Path) -> None:
    """A request in flight is answered and logged by what was in force when it came, though its route is gone."""
    with fleet(tmp_path, workers=2, logging={"access": {"path": "one.log"}}) as f:
        on = f.background.do(f.background.link(f.port))
        answer = f.background.begin(on.ask("/wait/10/"))
        time.sleep(0.2)
        f.write_routes([EXTRA])
        f.write_config(logging={"access": {"path": "two.log"}})
        f.reload()
        assert f.everywhere("/") == {404}
        assert answer()[0] == 200
        one, two = tmp_path / "one.log", tmp_path / "two.log"
        assert wait_until(lambda: "/wait/10/" in one.read_text(), 2)
        assert "/wait/10/" not in two.read_text()


@pytest.mark.parametrize("workers", [1, 3])
def test_a_log_that_was_moved_away_is_opened_anew(tmp_path: Path, workers: int) -> None:
    """As logrotate does it: rename, SIGHUP; no line is lost, none comes to the old file later, also from a new worker."""
    with fleet(tmp_path, workers=workers, logging={"access": {"path": "a.log"}}) as f:
        log, old = tmp_path / "a.log", tmp_path / "a.log.1"
        assert f.everywhere("/before") == {200}
        log.rename(old)
        f.reload()
        assert wait_until(lambda: old.read_text().count("/before") == 16, 2)
        if workers > 1:
            victim = f.workers()[0]
            kill(victim)
            assert wait_until(lambda: victim not in f.workers() and len(f.workers()) == workers)
        log.rename(tmp_path / "a.log.2")
        (tmp_path / "policies" / "bad.yaml").write_text("routes: [")
        f.served.signal(signal.SIGHUP)
        assert wait_until(log.exists, 2)  # a reload that is refused opens it all the same
        time.sleep(0.1)
        assert f.everywhere("/after") == {200}
        assert wait_until(lambda: log.read_text().count("/after") == 16, 2)
        assert "/after" not in old.read_text()
        log.rename(old)
        tmp_path.joinpath("a.log").mkdir()  # it cannot be opened: what is open is written on
        f.served.signal(signal.SIGHUP)
        assert f.says("cannot be opened again")
        assert f.everywhere("/later") == {200}
        assert wait_until(lambda: old.read_text().count("/later") == 16, 2)


def reload_under_load(f: Fleet, times: int, pause: float) -> tuple[Tally, list[int], list[int]]:
    """So many reloads while eight clients never stop; the requests, and the workers' memory early and late."""
    early: list[int] = []
    tally = Tally()
    done = f.background.begin(hammer(f.background, f.port, tally, 6))
    anew = f.background.begin(hammer(f.background, f.port, tally, 2, anew=True))
    for number in range(times):
        if number == times // 5:
            early = [resident(pid) for pid in f.workers()]
        f.write_routes([OPEN, EXTRA] if number % 2 else [OPEN])
        f.served.signal(signal.SIGHUP)
        time.sleep(pause)
    late = [resident(pid) for pid in f.workers()]
    tally.stop = True
    done()
    anew()
    return tally, early, late


def resident(pid: int) -> int:
    """The memory that a process holds, in KiB."""
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1])


@pytest.mark.parametrize("times", [100, pytest.param(1000, marks=pytest.mark.slow)])
def test_many_reloads_fail_no_request_and_hold_no_memory(tmp_path: Path, times: int) -> None:
    """Under load: no request fails, no worker ends, memory stays, and no connection to the backend is made again."""
    with fleet(tmp_path, workers=2, logging={"access": {"format": "none"}}) as f:
        before, workers = f.everywhere("/"), f.workers()
        tally, early, late = reload_under_load(f, times, 0.03)
        reloads = f.served.errors().count("reloaded ") // 2
        figures = f"{reloads} reloads, {tally.served} served, {len(tally.failed)} failed"
        print(f"{figures}, KiB {early} -> {late}")  # noqa: T201  # what the slow run is for
        assert before == {200}
        assert (set(tally.statuses), tally.failed) == ({200}, [])
        assert tally.served > times
        assert f.workers() == workers
        assert reloads > 0.9 * times  # two signals at once are one
        assert all(b - a < 6 << 10 for a, b in zip(early, late, strict=True))
        assert f.backend.connections <= 2 * 8
