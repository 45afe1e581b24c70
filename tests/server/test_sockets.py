"""Listening sockets: taken or refused with words, and leftovers of processes that are gone removed."""

import socket
import stat
import sys
from pathlib import Path

import pytest

from authproxy.config.values import SocketAddress
from authproxy.server.sockets import ListenError, bound_address, listen


def test_port_0_is_resolved() -> None:
    """A free port is taken, and the address says which."""
    with listen(SocketAddress("127.0.0.1", 0)) as found:
        port = found.getsockname()[1]
        assert bound_address(found) == f"127.0.0.1:{port}"
        assert not found.getblocking()


def test_ipv6_is_written_in_brackets() -> None:
    """An IPv6 address is shown as it is configured."""
    with listen(SocketAddress("::1", 0)) as found:
        assert bound_address(found) == f"[::1]:{found.getsockname()[1]}"


def test_all_of_ipv6_is_all_of_ipv4_too() -> None:
    """`[::]` takes clients of both."""
    with listen(SocketAddress("::", 0)) as found:
        socket.create_connection(("127.0.0.1", found.getsockname()[1])).close()


def test_a_taken_address_is_named() -> None:
    """The error says which address and why, and leaves no socket behind."""
    with listen(SocketAddress("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            ListenError, match=f"cannot listen on 127.0.0.1:{port}: address already in use"
        ):
            listen(SocketAddress("127.0.0.1", port))
    with pytest.raises(ListenError, match="cannot assign"):
        listen(SocketAddress("192.0.2.1", 0))


def test_a_unix_socket_is_for_owner_and_group(tmp_path: Path) -> None:
    """Others may not connect to it."""
    path = tmp_path / "s"
    with listen(SocketAddress(path=str(path))) as found:
        assert bound_address(found) == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o660


def test_a_leftover_socket_is_replaced(tmp_path: Path) -> None:
    """A socket file that nobody answers at was left behind by a process that is gone."""
    path = tmp_path / "s"
    listen(SocketAddress(path=str(path))).close()
    listen(SocketAddress(path=str(path))).close()


def test_a_living_socket_is_left_alone(tmp_path: Path) -> None:
    """A socket that somebody serves is not taken over, also where its backlog is full; nor is a file."""
    path = tmp_path / "s"
    with listen(SocketAddress(path=str(path))), pytest.raises(ListenError, match="in use"):
        listen(SocketAddress(path=str(path)))
    busy = tmp_path / "busy"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(busy))
        server.listen(0)
        waiting = [socket.socket(socket.AF_UNIX) for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(str(busy))
        with pytest.raises(ListenError, match="in use"):
            listen(SocketAddress(path=str(busy)))
        for one in waiting:
            one.close()
    (tmp_path / "file").write_text("kept")
    with pytest.raises(ListenError):
        listen(SocketAddress(path=str(tmp_path / "file")))
    assert (tmp_path / "file").read_text() == "kept"


@pytest.mark.skipif(sys.platform != "linux", reason="the path's bound differs")
def test_an_impossible_path_is_an_error(tmp_path: Path) -> None:
    """A path that is too long for a socket is refused with words."""
    with pytest.raises(ListenError):
        listen(SocketAddress(path=str(tmp_path / ("x" * 200))))
