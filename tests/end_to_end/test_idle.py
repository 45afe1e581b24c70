"""What connections hold that wait for a next request: of the whole program, as the kernel counts it.

How busy the machine is makes no difference to that. What each needs is taken from those that come after others, so that
what the program needs once is not among it.
"""

import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from bench.processes import memory
from tests.end_to_end.credentials import Authority, Issuer
from tests.end_to_end.served import Served, configuration, wait_until, write_configuration

# Bytes a connection. Measured: 24 to 27 KiB, and 43 to 47 where nothing is given back.
HELD_MOST = 40 << 10
BEFORE, COUNTED = 100, 300
LOOKED_AT = 0.6  # seconds in which the sweep sees each of them


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """Whom clients trust."""
    return Authority(tmp_path / "authority")


@pytest.fixture
def served(tmp_path: Path, authority: Authority) -> Iterator[Served]:
    """A program that was just started, with TLS and no routes."""
    pair = authority.issue("localhost")
    files = {"certificate": str(pair.certificate), "private_key": str(pair.private_key)}
    listeners = [{"address": "127.0.0.1:0", "tls": {"certificates": [files]}}]
    served = Served(
        write_configuration(tmp_path, Issuer(), configuration({}, listeners=listeners), ())
    )
    yield served
    assert served.stop() == 0


def test_an_idle_tls_connection_holds_40_kib_at_most(served: Served, authority: Authority) -> None:
    """One that has had an answer and waits, as those do that came before it."""
    client = ssl.create_default_context(cafile=authority.file)
    asked = b"GET / HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer %b\r\n\r\n" % (b"x" * 700)

    def open_links(number: int) -> None:
        for _ in range(number):
            plain = socket.create_connection(("127.0.0.1", served.ports[0]))
            link = links.enter_context(client.wrap_socket(plain, server_hostname="localhost"))
            link.sendall(asked)
            assert link.recv(4096).startswith(b"HTTP/1.1 404 ")

    def held() -> int:
        return memory(served.pid, "VmRSS")

    with ExitStack() as links:
        open_links(BEFORE)
        time.sleep(LOOKED_AT)
        before = held()
        open_links(COUNTED)
        wait_until(lambda: held() - before <= HELD_MOST * COUNTED)
        assert (held() - before) / COUNTED <= HELD_MOST
