"""Debian's HAProxy in front of several proxies, as a load balancer that nobody here wrote."""

import signal
import socket
import subprocess
from pathlib import Path

import pytest

from tests.end_to_end.nginx import need
from tests.end_to_end.served import free_port, wait_until

CONFIGURATION = """
global
  maxconn 2000
defaults
  mode http
  timeout connect 5s
  timeout client 30s
  timeout server 30s
listen front
  bind 127.0.0.1:{port}
  balance roundrobin
{servers}
"""


class Haproxy:
    """A running HAProxy that gives requests to these addresses in turn."""

    def __init__(self, folder: Path, servers: list[str]) -> None:
        folder.mkdir()
        self.port = free_port()
        lines = "\n".join(f"  server s{n} {address}" for n, address in enumerate(servers))
        (folder / "haproxy.cfg").write_text(CONFIGURATION.format(port=self.port, servers=lines))
        command = [need("haproxy"), "-db", "-q", "-f", str(folder / "haproxy.cfg")]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        if not wait_until(self._answers, 10):
            self.stop()
            pytest.fail("haproxy does not start")

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 1).close()
        except OSError:
            return False
        return True

    def stop(self) -> None:
        """End it."""
        self._process.send_signal(signal.SIGTERM)
        self._process.wait(5)
