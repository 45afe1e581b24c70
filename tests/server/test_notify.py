"""sd_notify: what is sent, where to, and how often."""

import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from authproxy.server.notify import Systemd, notify


@pytest.fixture(params=["path", "abstract"])
def listening(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[socket.socket]:
    """The other end of the socket, by a path or by an abstract name."""
    name = str(tmp_path / "n") if request.param == "path" else f"@authproxy-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        bound.bind(name.replace("@", "\0"))
        bound.settimeout(2)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        yield bound


def test_what_is_said_is_heard(listening: socket.socket) -> None:
    """Each turn is one message in systemd's words; a reload says when it began, in microseconds."""
    systemd, before = Systemd({}), time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    systemd.ready()
    systemd.reloading()
    systemd.reloaded()
    systemd.stopping()
    heard = [listening.recv(100).decode() for _ in range(4)]
    first, _, second = heard.pop(1).partition("\n")
    assert heard == ["READY=1", "READY=1", "STOPPING=1"]
    assert first == "RELOADING=1"
    assert 0 <= int(second.removeprefix("MONOTONIC_USEC=")) - before < 1_000_000


def test_signs_of_life_come_at_half_the_time(listening: socket.socket) -> None:
    """However often work gets done, systemd hears of it twice in the time that it waits."""
    systemd = Systemd({"WATCHDOG_USEC": "200000", "WATCHDOG_PID": str(os.getpid())})
    assert systemd.interval == 0.1
    end = time.monotonic() + 0.35
    while time.monotonic() < end:
        systemd.alive()
        time.sleep(0.005)
    listening.setblocking(False)
    assert [listening.recv(100) for _ in range(4)] == [b"WATCHDOG=1"] * 4
    with pytest.raises(BlockingIOError):
        listening.recv(100)


@pytest.mark.parametrize(
    "environ", [{}, {"WATCHDOG_USEC": "x"}, {"WATCHDOG_USEC": "1000", "WATCHDOG_PID": "1"}]
)
def test_no_signs_of_life_where_none_are_wanted(environ: dict[str, str]) -> None:
    """Without a watchdog, or with one that waits for another process, nothing is sent."""
    assert Systemd(environ).interval == 0


def test_without_systemd_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody asked to be told, nobody is."""
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_a_socket_that_is_gone_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Serving does not depend on being heard."""
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING):
        Systemd({}).reloading()
    assert "systemd cannot be told RELOADING=1: " in caplog.text
