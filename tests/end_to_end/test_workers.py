"""Several workers: limits are exact over all of them, one that dies is replaced, and all end together."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from pathlib import Path
from typing import IO

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.fleet import OPEN, Fleet, fleet, guarded, kill
from tests.end_to_end.load import Background, Tally, hammer
from tests.end_to_end.served import (
    PROGRAM,
    READY,
    configuration,
    environment,
    wait_until,
    write_configuration,
)

LIMIT = 1000
LIMITED = [
    guarded(
        strategy,
        rate_limits=[{"limit": f"{LIMIT}/minute", "per": "subject", "strategy": strategy}],
    )
    for strategy in ("fixed-window", "sliding-window-counter", "moving-window")
]


def passed(f: Fleet, path: str, subject: str, clients: int = 64, each: int = 25) -> Counter[int]:
    """The statuses of many requests of one subject, from many clients at once, within one minute."""
    while time.time() % 60 > 55:  # a fixed window must not end meanwhile
        time.sleep(0.5)
    tally = Tally()
    work = hammer(
        f.background, f.port, tally, clients, each=each, path=path, token=f.issuer.token(subject)
    )
    f.background.do(work)
    assert tally.failed == []
    return tally.statuses


def test_a_limit_is_exact_over_all_workers(tmp_path: Path) -> None:
    """64 clients at four workers, whatever the strategy: exactly as many requests pass as the limit says."""
    with fleet(tmp_path, workers=4, routes=LIMITED) as f:
        assert len(f.workers()) == 4
        for strategy in ("fixed-window", "sliding-window-counter", "moving-window"):
            assert passed(f, f"/{strategy}", "alice") == {200: LIMIT, 429: 600}


@pytest.mark.slow
def test_a_limit_is_exact_ten_times_of_ten(tmp_path: Path) -> None:
    """Ten runs of ten: 1,000 of 1,600 requests pass."""
    with fleet(tmp_path, workers=4, routes=LIMITED) as f:
        for run in range(10):
            assert passed(f, "/fixed-window", f"subject-{run}") == {200: LIMIT, 429: 600}


def test_a_killed_worker_loses_only_what_was_in_flight(tmp_path: Path) -> None:
    """After kill -9 the other workers go on, new connections are served at once, and the worker is back, with a word why."""
    with fleet(tmp_path, workers=3) as f:
        links = [f.background.do(f.background.link(f.port)) for _ in range(24)]
        for one in links:
            assert f.background.do(one.ask())[0] == 200
        before, victim = f.workers(), f.workers()[0]
        tally = Tally()
        done = f.background.begin(hammer(f.background, f.port, tally, 6, anew=True))
        time.sleep(0.2)
        kill(victim)
        wait_until(lambda: len(f.workers()) == 3 and victim not in f.workers(), 5)
        time.sleep(0.3)
        tally.stop = True
        done()
        assert len(set(f.workers()) & set(before)) == 2
        # Six clients, so at most six requests were under way.
        assert (set(tally.statuses), len(tally.failed) <= 6) == ({200}, True)
        assert tally.served > 100
        survivors = [one for one in links if not one.reader.at_eof()]
        assert len(survivors) >= 1
        for one in survivors:
            assert f.background.do(one.ask())[0] == 200
        assert re.search(rf"worker \d \(pid {victim}\) was killed by SIGKILL", f.served.errors())
        assert f.everywhere("/") == {200}


def test_counters_outlive_their_worker_and_its_gauges_do_not(tmp_path: Path) -> None:
    """One scrape covers all workers, the same from each; after a kill counters go on and connections are those that are."""
    with fleet(tmp_path, workers=2) as f:
        links = [f.background.do(f.background.link(f.port)) for _ in range(20)]
        for one in links:
            f.background.do(one.ask())
        assert wait_until(lambda: f.metric("authproxy_connections") == 20, 3)
        assert {f.metric("authproxy_requests_total") for _ in range(10)} == {20}
        for victim in f.workers():
            kill(victim)
            wait_until(lambda dead=victim: dead not in f.workers() and len(f.workers()) == 2)  # type: ignore[misc]
        assert wait_until(lambda: f.metric("authproxy_connections") == 0, 3) is True
        assert f.metric("authproxy_requests_total") == 20
        assert f.ask() == 200
        assert wait_until(lambda: f.metric("authproxy_requests_total") == 21, 3)
        assert f.metric("authproxy_request_seconds_count", route="all") == 21


def test_labels_are_of_the_configuration_only(tmp_path: Path) -> None:
    """Unknown paths, methods, hosts and subjects make no series: their number is that of routes, statuses and codes."""
    with fleet(tmp_path, routes=[guarded("private")]) as f:
        for n in range(30):
            f.ask(f"/unknown-{n}")
            f.ask("/private", f.issuer.token(f"subject-{n}"))
            f.ask("/private", "a.b.c")
        text = f.scrape()
        assert "unknown-" not in text
        assert "subject-" not in text
        names = set(re.findall(r'(\w+)="', text))
        assert names <= {"route", "status", "code", "le", "upstream", "listener", "result", "log"}
        requests = [x for x in text.splitlines() if x.startswith("authproxy_requests_total{")]
        assert len(requests) == 3  # no route, allowed, not authenticated


def test_a_bound_on_connections_holds_over_all_workers(tmp_path: Path) -> None:
    """At the bound a new connection is told 503 `overloaded` and closed; the old ones go on, and room is used again."""
    with fleet(tmp_path, workers=3, bounds={"connections": 12, "drain": "5s"}) as f:
        do = f.background.do
        links = [do(f.background.link(f.port)) for _ in range(12)]
        assert {do(one.ask())[0] for one in links} == {200}
        for _ in range(6):
            extra = do(f.background.link(f.port))
            status, body = do(extra.ask())
            assert (status, json.loads(body)["code"]) == (503, "overloaded")
            assert do(extra.reader.read()) == b""
            extra.close()
        assert {do(one.ask())[0] for one in links} == {200}
        for one in links[:6]:
            f.background.loop.call_soon_threadsafe(one.close)
        assert wait_until(lambda: f.everywhere("/") == {200}, 3)
        for one in links[6:]:
            f.background.loop.call_soon_threadsafe(one.close)


def test_a_drain_is_one_however_often_the_group_is_signalled(tmp_path: Path) -> None:
    """A terminal's Ctrl-C and systemd's stop reach supervisor and workers at once: still each request finishes."""
    for number in (signal.SIGTERM, signal.SIGINT):
        folder = tmp_path / number.name
        folder.mkdir()
        with fleet(folder, workers=2) as f:
            waiting = [f.background.do(f.background.link(f.port)) for _ in range(4)]
            answers = [f.background.begin(one.ask("/wait/8/")) for one in waiting]
            time.sleep(0.3)
            for pid in (*f.workers(), f.served.pid, *f.workers()):
                os.kill(pid, number)
            assert [answer()[0] for answer in answers] == [200] * 4
            assert f.served.ended() == 0


def test_a_second_signal_ends_all_workers_at_once(tmp_path: Path) -> None:
    """Who asks twice is not made to wait."""
    with fleet(tmp_path, workers=2, bounds={"drain": "30s"}) as f:
        on = f.background.do(f.background.link(f.port))
        answer = f.background.begin(on.ask("/wait/90/"))
        time.sleep(0.3)
        workers = f.workers()
        f.served.signal()
        time.sleep(0.3)
        assert f.served.process.poll() is None
        began = time.monotonic()
        f.served.signal()
        assert f.served.ended() == 0
        assert time.monotonic() - began < 3
        assert [pid for pid in workers if Path(f"/proc/{pid}").exists()] == []
        with pytest.raises(EOFError):
            answer()


def test_workers_do_not_outlive_their_supervisor(tmp_path: Path) -> None:
    """A supervisor that was killed leaves nobody behind who serves for ever: workers drain, say why, and end."""
    with fleet(tmp_path, workers=2) as f:
        workers = f.workers()
        on = f.background.do(f.background.link(f.port))
        answer = f.background.begin(on.ask("/wait/5/"))
        time.sleep(0.2)
        kill(f.served.pid)
        f.served.ended()
        assert answer()[0] == 200
        assert wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers), 5)
        assert f.served.errors().count("the supervisor is gone") == 2
        f.served.process.returncode = 0  # as it was meant to


def test_a_worker_that_cannot_start_does_not_spin(tmp_path: Path) -> None:
    """Where workers fail at their start all end with 1 after a few tries, each with a word why."""
    config = configuration(
        {"app": {"servers": ["http://127.0.0.1:1"]}}, workers=2, state={"url": "lmdb:state"}
    )
    file = write_configuration(tmp_path, Issuer(), config, [OPEN])
    broken = (
        "import authproxy.server.start as s, sys; s.run_worker = lambda *a: 1 / 0; "
        "from authproxy.cli.main import main; sys.argv = sys.argv[:1] + sys.argv[1:]; main()"
    )
    began = time.monotonic()
    done = subprocess.run(
        [PROGRAM[0], "-c", broken, "serve", "--config", str(file)],
        env=environment(), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert 0.5 < time.monotonic() - began < 30
    assert "cannot be started" in done.stderr
    assert done.stderr.count("starting it again") <= 4
    assert READY.search(done.stderr) is None


def test_log_lines_of_all_workers_are_whole(tmp_path: Path) -> None:
    """Workers that share a pipe for their access log never write into each other's lines, even where it is slow."""
    config = configuration(
        {"app": {"servers": ["http://127.0.0.1:1"]}}, workers=3, state={"url": "lmdb:state"}
    )
    file = write_configuration(tmp_path, Issuer(), config, [OPEN])
    with subprocess.Popen(
        [*PROGRAM, "serve", "--config", str(file)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment()
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        found = READY.search(process.stderr.readline().decode())
        assert found is not None
        lines: list[bytes] = []
        reader = threading.Thread(target=_read_slowly, args=(process.stdout, lines))
        reader.start()
        background, tally = Background(), Tally()
        port = int(found[2].rpartition(":")[2])
        background.do(hammer(background, port, tally, 24, each=60, path="/" + "x" * 6000))
        process.terminate()
        assert process.wait(10) == 0
        reader.join(10)
        background.stop()
    assert len([json.loads(line) for line in lines]) == tally.served == 24 * 60


def _read_slowly(pipe: IO[bytes], lines: list[bytes]) -> None:
    for line in pipe:
        lines.append(line)
        if len(lines) % 50 == 0:
            time.sleep(0.005)
