"""A real Redis of a test's own: on a free port of loopback, keeping nothing on the disk, ended with the test."""

import atexit
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest

from authproxy.config.state import parse_redis_url
from authproxy.state.redis_access import RedisAccess
from tests.end_to_end.nginx import need
from tests.end_to_end.served import free_port, wait_until


class RedisServer:
    """One redis-server, started; `options` are its own, as on its command line."""

    def __init__(self, *options: str, port: int | None = None) -> None:
        self.port = port or free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="authproxy-redis-"))
        self.options = options
        self.process: subprocess.Popen[bytes] | None = None
        self.start()

    @property
    def url(self) -> str:
        """For `state.url`, the first database."""
        return f"redis://127.0.0.1:{self.port}/0"

    def access(self, database: int = 0, timeout: float = 5.0) -> RedisAccess:
        """How to reach it; patient, as tests run on busy machines."""
        place = parse_redis_url(f"redis://127.0.0.1:{self.port}/{database}")
        assert place is not None
        return RedisAccess(place, timeout=timeout)

    def start(self) -> None:
        """Start it, empty, and wait until it answers."""
        command = [
            need("redis-server"), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
            "--appendonly", "no", "--dir", str(self.folder), *self.options,
        ]  # fmt: skip
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        if not wait_until(lambda: self.ask("PING").startswith("+PONG"), 10):
            self.close()
            pytest.fail("redis-server does not answer")

    def ask(self, *command: str) -> str:
        """What it answers to a command, raw; nothing where it does not."""
        return asked(self.port, *command)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, such as SIGSTOP."""
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """End it; what it knew is gone."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(5)

    def close(self) -> None:
        """End it, with its folder."""
        self.stop()
        shutil.rmtree(self.folder, ignore_errors=True)


def asked(port: int, *command: str) -> str:
    """What is answered there to a command, raw; nothing where nobody is."""
    try:
        with socket.create_connection(("127.0.0.1", port), 1) as sock:
            sock.sendall(" ".join(command).encode() + b"\r\n")
            return sock.recv(65536).decode()
    except OSError:
        return ""


@contextmanager
def sentinel(folder: Path, port: int) -> Iterator[int]:
    """A sentinel that watches the Redis of this port as `main`, and is quick to lose faith in it; its own port."""
    folder.mkdir()
    own, file = free_port(), folder / "sentinel.conf"
    file.write_text(
        f"port {own}\nbind 127.0.0.1\ndir {folder}\nsentinel monitor main 127.0.0.1 {port} 1\n"
        "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 2000\n"
    )
    process = subprocess.Popen([need("redis-sentinel"), str(file)], stdout=subprocess.DEVNULL)
    try:
        assert wait_until(lambda: asked(own, "PING").startswith("+PONG"), 10)
        yield own
    finally:
        process.terminate()
        process.wait(5)


@cache
def shared() -> RedisServer:
    """The one of the whole run, for tests that neither stop nor slow it."""
    server = RedisServer()
    atexit.register(server.close)
    return server


def emptied() -> RedisServer:
    """The one of the whole run, with nothing in it."""
    server = shared()
    assert server.ask("FLUSHALL").startswith("+OK")
    return server
