"""The parent of workers: who is started again and when, who is told what, and when it gives up."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from authproxy.server.supervisor import DELAYS, DRAIN, STEADY, TRIES, Report, Supervisor, _why

KILLED = signal.SIGKILL.value  # a wait status


class Played:
    """All that a supervisor talks to; `turns` is what it said to whom."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, count: int = 2) -> None:
        self.turns: list[str] = []
        self.admits = True
        self.files_changed = False
        monkeypatch.setattr(os, "kill", self._told)
        self.supervisor = Supervisor(
            count,
            lambda number, report: None,
            announce=lambda: self.turns.append("announced"),
            admit=lambda: self.admits,
            changed=lambda: self.files_changed,
            buried=lambda number: self.turns.append(f"buried {number}"),
            lifecycle=self,
            patience=5.0,
        )
        for child in self.supervisor._children:
            child.pid, child.started = 1000 + child.number, time.monotonic()

    def _told(self, pid: int, number: int) -> None:
        self.turns.append(f"{signal.Signals(number).name} {pid}")

    def report(self, number: int) -> Report:
        """A worker's."""
        return Report(self.supervisor._writer, number, os.getppid())

    def reloading(self) -> None:
        """As systemd would hear it."""
        self.turns.append("reloading")

    def reloaded(self) -> None:
        """As systemd would hear it."""
        self.turns.append("reloaded")

    def stopping(self) -> None:
        """As systemd would hear it."""
        self.turns.append("stopping")

    def alive(self) -> None:
        """As systemd would hear it."""


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> Played:
    """A supervisor of two workers that are said to run."""
    return Played(monkeypatch)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (KILLED, "was killed by SIGKILL (out of memory?)"),
        (signal.SIGSEGV.value | 0x80, "was killed by SIGSEGV"),
        (3 << 8, "ended with exit status 3"),
        (0, "ended with exit status 0"),
    ],
)
def test_an_end_is_told_in_plain_words(status: int, words: str) -> None:
    """Signals by their names, and what the commonest one is likely to mean."""
    assert _why(status) == words


def test_early_deaths_are_waited_for_longer_and_longer(played: Played) -> None:
    """A worker that dies young again and again is started less and less often; one that lived is not blamed for its past."""
    child = played.supervisor._children[0]
    child.served = True
    waits = []
    for _ in range(8):
        child.pid, child.started = 1000, time.monotonic()
        played.supervisor._buried(child, KILLED)
        waits.append(child.start_at - time.monotonic())
    assert waits == pytest.approx([*DELAYS[1:], *[DELAYS[-1]] * (8 - len(DELAYS) + 1)], abs=0.05)
    child.pid, child.started = 1000, time.monotonic() - STEADY - 1
    played.supervisor._buried(child, KILLED)
    assert child.start_at <= time.monotonic()
    assert played.turns == ["buried 0"] * 9


def test_a_worker_that_never_served_is_not_tried_for_ever(played: Played) -> None:
    """After a few tries the others are drained too, and the exit status says that it failed."""
    child = played.supervisor._children[0]
    for _ in range(TRIES):
        assert not played.supervisor._stopping
        child.pid = 1000
        played.supervisor._buried(child, 1 << 8)
    assert played.supervisor._failed
    assert played.turns[-2:] == ["stopping", "SIGTERM 1001"]


def test_readiness_is_announced_once_and_of_all(played: Played) -> None:
    """Two reports of one worker are not those of two; what restarts later announces nothing."""
    for _ in range(2):
        played.report(0).ready()
        played.supervisor._hear()
    assert played.turns == []
    for _ in range(3):
        played.report(1).ready()
        played.supervisor._hear()
    assert played.turns == ["announced"]


def test_a_reload_ends_when_all_have_taken_it_over(played: Played) -> None:
    """Workers are told only what was admitted; systemd hears of the end when the last has reported, or has died."""
    played.supervisor._handle(signal.SIGHUP)
    told = ["reloading", "SIGHUP 1000", "SIGHUP 1001"]
    played.supervisor._look_after()
    assert played.turns == told
    played.report(0).reloaded()
    played.supervisor._hear()
    played.supervisor._look_after()
    assert played.turns == told
    played.supervisor._buried(played.supervisor._children[1], KILLED)
    played.supervisor._children[1].start_at += 100
    played.supervisor._look_after()
    assert played.turns == [*told, "buried 1", "reloaded"]


def test_what_is_not_admitted_reaches_no_worker(played: Played) -> None:
    """Of a bad configuration workers learn only that logs may have been moved; changed files are asked about like a SIGHUP."""
    played.admits, played.files_changed = False, True
    played.supervisor._look_after()
    played.supervisor._look_after()
    assert played.turns == ["reloading", "SIGUSR2 1000", "SIGUSR2 1001", "reloaded"]


def test_a_stop_is_a_drain_and_a_second_one_is_not(played: Played) -> None:
    """Workers hear different signals for both, and what does not end in its time is killed."""
    played.supervisor._handle(signal.SIGTERM)
    played.supervisor._handle(signal.SIGHUP)
    played.supervisor._press()
    drained = ["stopping", "SIGTERM 1000", "SIGTERM 1001"]
    assert played.turns == drained
    played.supervisor._handle(signal.SIGINT)
    assert played.turns == [*drained, "SIGUSR1 1000", "SIGUSR1 1001"]
    played.supervisor._kill_at = time.monotonic()
    played.supervisor._press()
    assert played.turns[-2:] == ["SIGKILL 1000", "SIGKILL 1001"]


STUCK = """
import signal, sys, time
from authproxy.server.notify import Systemd
from authproxy.server.supervisor import Supervisor

def work(number, report):
    report.ready()
    if number == 0:
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
    for _ in range(600):
        report.alive()
        time.sleep(0.1)

nothing = lambda *_: None
sys.exit(Supervisor(2, work, announce=lambda: print("up", flush=True), admit=nothing, changed=nothing,
    buried=nothing, lifecycle=Systemd({}), patience=0.5).run())
"""


def test_a_worker_that_is_stuck_holds_nobody_up() -> None:
    """A worker that does not end in its drain is killed; the exit is 0 all the same."""
    with subprocess.Popen([sys.executable, "-c", STUCK], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"up\n"
        began = time.monotonic()
        process.terminate()
        assert process.wait(10) == 0
        assert 0.4 < time.monotonic() - began < 5


def test_nobody_outlives_a_killed_supervisor() -> None:
    """Workers end with their parent, however it ends; here they have no time to drain either."""
    # One write a line, whatever Python buffers: two workers say so at once.
    said = "report.ready(); __import__('os').write(1, b'%d\\n' % __import__('os').getpid())"
    script = STUCK.replace("report.ready()", said).replace("number == 0", "True")
    script = script.replace('print("up", flush=True)', "__import__('os').write(1, b'up\\n')")
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().strip() for _ in range(3)]
            pids = [int(line) for line in lines if line != b"up"]
        finally:
            process.kill()
        process.wait(5)
        end = time.monotonic() + 5
        while any(_running(pid) for pid in pids) and time.monotonic() < end:
            time.sleep(0.02)
    assert len(pids) == 2
    assert [pid for pid in pids if _running(pid)] == []


def _running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_report_to_nobody_is_no_error() -> None:
    """A worker whose supervisor is gone, or too busy to read, goes on."""
    reader, writer = os.pipe2(os.O_NONBLOCK)
    report = Report(writer, 0, os.getppid())
    for _ in range(40_000):
        report.reloaded()
    os.close(reader)
    report.reloaded()
    os.close(writer)


def test_a_worker_that_is_left_alone_is_told_to_drain_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has another parent than its supervisor has none who could stop it; that it lives is no reason."""
    told: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "kill", lambda pid, number: told.append((pid, number)))
    report = Report(-1, 0, os.getppid())
    report.alive()
    assert told == []
    monkeypatch.setattr(os, "getppid", lambda: 1)
    report.alive()
    report.alive()
    assert told == [(os.getpid(), DRAIN)]
