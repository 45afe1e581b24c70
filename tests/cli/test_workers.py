"""Asking the running workers: what is no answer, and whom to believe."""

import os
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path

import pytest

from authproxy.cli import workers


@pytest.mark.parametrize(
    "answer", [b"", b"junk\n", b"[]\n", b'{"keeps": 1}\n', b"[" * 200_000 + b"\n"]
)
def test_what_is_no_answer_is_no_worker(tmp_path: Path, answer: bytes) -> None:
    """A socket of something else is passed over."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "trail-1-a.sock"))
        listening.listen()

        def serve() -> None:
            taken, _ = listening.accept()
            with taken:
                taken.recv(100)
                with suppress(OSError):  # it is not always waited for
                    taken.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(workers.NothingKnownError, match="no server is running"):
            workers.find_request(tmp_path, "x")
        thread.join()


def test_a_slow_answer_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time is for all of it: a byte now and then keeps nobody."""
    monkeypatch.setattr(workers, "PATIENCE", 0.2)
    done = threading.Event()
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "trail-1-a.sock"))
        listening.listen()

        def serve() -> None:
            taken, _ = listening.accept()
            with taken, suppress(OSError):
                while not done.wait(0.01):
                    taken.sendall(b"x")

        thread = threading.Thread(target=serve)
        thread.start()
        began = time.monotonic()
        with pytest.raises(workers.NothingKnownError, match="no server is running"):
            workers.find_request(tmp_path, "x")
        assert time.monotonic() - began < 10
        done.set()
        thread.join()


def test_a_stranger_s_socket_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    """Whoever listens must be the user whose directory it is."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "trail-1-a.sock"))
        listening.listen()
        real = os.fstat
        monkeypatch.setattr(os, "fstat", lambda fd: os.stat_result([*real(fd)[:4], 12345, *real(fd)[5:]]))  # fmt: skip
        with pytest.raises(workers.NothingKnownError, match="no server is running"):
            workers.find_request(tmp_path, "x")


def test_where_nobody_may_look_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A state directory of another user is not the same as no server."""

    def refuse(_path: Path) -> list[Path]:
        raise PermissionError

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(workers.NothingKnownError, match="another user's"):
        workers.find_request(tmp_path, "x")
    monkeypatch.undo()
    with pytest.raises(workers.NothingKnownError, match="no server is running"):
        workers.find_request(tmp_path / "none", "x")
