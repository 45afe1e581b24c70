"""Under systemd: sockets that it bound, and what it is told (`Type=notify-reload`, watchdog); the tests play its part."""

import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.end_to_end.credentials import Issuer
from tests.end_to_end.fleet import OPEN, fleet
from tests.end_to_end.load import Background, QuickBackend, Tally, hammer
from tests.end_to_end.served import (
    PROGRAM,
    Served,
    configuration,
    run,
    wait_until,
    write_configuration,
)

# What systemd does between fork and exec.
LAUNCH = (
    "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); "
    "os.execv(sys.argv[2], sys.argv[2:])"
)


class Systemd:
    """The socket at the other end of sd_notify."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify.sock"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self.heard: list[str] = []

    def hears(self, text: str, count: int = 1, seconds: float = 5.0) -> bool:
        """Does it come to hear messages that begin so, so many?"""
        return bool(wait_until(lambda: self._count(text) >= count, seconds))

    def _count(self, text: str) -> int:
        try:
            while True:
                self.heard.append(self._socket.recv(4096).decode())
        except BlockingIOError:
            return sum(message.startswith(text) for message in self.heard)

    def close(self) -> None:
        """Hear no more."""
        self._socket.close()


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[Systemd]:
    """systemd, as far as it listens."""
    made = Systemd(tmp_path)
    yield made
    made.close()


@pytest.mark.parametrize("workers", [1, 2])
def test_systemd_is_told_all_that_it_wants_to_know(
    tmp_path: Path, systemd: Systemd, workers: int
) -> None:
    """READY, RELOADING with the time and READY again once all workers have taken over, STOPPING, and signs of life."""
    env = {"NOTIFY_SOCKET": str(systemd.path), "WATCHDOG_USEC": "400000"}
    with fleet(tmp_path, workers=workers, environ=env) as f:
        assert systemd.hears("READY=1")
        before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        bad = tmp_path / "policies" / "bad.yaml"
        bad.write_text("routes: [")
        f.served.signal(signal.SIGHUP)
        assert systemd.hears("RELOADING=1")
        assert systemd.hears("READY=1", 2)  # also where the reload is refused
        bad.unlink()
        f.write_routes([{**OPEN, "match": {"paths": ["/only"]}}])
        f.served.signal(signal.SIGHUP)
        assert systemd.hears("READY=1", 3)
        assert f.everywhere("/") == {404}
        turns = [m.partition("\n") for m in systemd.heard if not m.startswith("WATCHDOG")]
        assert [turn[0] for turn in turns] == ["READY=1", *["RELOADING=1", "READY=1"] * 2]
        told = re.fullmatch(r"MONOTONIC_USEC=(\d+)", turns[1][2])
        assert told is not None
        assert before <= int(told[1]) <= time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        seen = systemd._count("WATCHDOG=1")
        assert systemd.hears("WATCHDOG=1", seen + 3, 1.5)
        f.served.signal()
        assert systemd.hears("STOPPING=1")
        assert f.served.ended() == 0


def activated(file: Path, bound: socket.socket, name: str, **env: str) -> Served:
    """The program, started with a socket that is bound already."""
    program = (PROGRAM[0], "-c", LAUNCH, str(bound.fileno()), *PROGRAM)
    more = {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", **env}
    return Served(file, program=program, inherited=[bound.fileno()], name=name, **more)


def write(folder: Path, port: int, **more: Any) -> Path:
    """A configuration whose listener is inherited."""
    settings = {"listeners": [{"address": "fd:web"}], "state": {"url": "lmdb:state"}, **more}
    config = configuration({"app": {"servers": [f"http://127.0.0.1:{port}"]}}, **settings)
    return write_configuration(folder, Issuer(), config, [OPEN])


@pytest.mark.parametrize("workers", [1, 2])
def test_a_new_process_takes_the_socket_over(tmp_path: Path, workers: int) -> None:
    """Start the new one, then stop the old one, and again: with clients that connect all the time no request is lost."""
    background, tally = Background(), Tally()
    backend = QuickBackend(background)
    file = write(tmp_path, backend.port, workers=workers)
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as bound:
        port = bound.getsockname()[1]
        served = activated(file, bound, "old")
        assert served.ports == [port]
        done = background.begin(hammer(background, port, tally, 6, anew=True))
        for turn in range(2):
            new = activated(file, bound, f"new-{turn}")
            assert served.stop() == 0
            served = new
            time.sleep(0.1)
        tally.stop = True
        done()
        assert served.stop() == 0
    backend.stop()
    background.stop()
    assert (tally.failed, set(tally.statuses)) == ([], {200})
    assert tally.served > 100


@pytest.mark.parametrize(
    ("address", "env", "word"),
    [
        ("fd:web", {}, "no socket that this process was started with has that name"),
        ("fd:web", {"LISTEN_FDS": "1", "LISTEN_FDNAMES": "web", "LISTEN_PID": "1"}, "inherited: none"),
    ],
    ids=["none", "of another process"],
)  # fmt: skip
def test_a_socket_that_is_not_there_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, env: dict[str, str], word: str
) -> None:
    """Without such a socket nothing is served: exit 1, and a line that says which, and what to set."""
    file = write(tmp_path, 1, listeners=[{"address": address}])
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    done = run("serve", "--config", str(file))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"authproxy: cannot listen on {address}: ")
    assert word in done.stderr
    assert "FileDescriptorName=web" in done.stderr


def test_another_name_is_told_what_there_is(tmp_path: Path) -> None:
    """The names that were inherited are in the message."""
    file = write(tmp_path, 1, listeners=[{"address": "fd:other"}])
    with (
        socket.create_server(("127.0.0.1", 0)) as bound,
        pytest.raises(RuntimeError, match="inherited: web"),
    ):
        activated(file, bound, "none")
