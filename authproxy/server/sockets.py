"""Listening sockets: bound here, once, before anything is served."""

import contextlib
import os
import socket
import stat
from pathlib import Path

from authproxy.config.values import SocketAddress

BACKLOG = 1024


class ListenError(OSError):
    """The address cannot be listened on; the text says which and why."""


def listen(address: SocketAddress) -> socket.socket:
    """A listening socket at this address; port 0 takes a free one.

    Raises:
        ListenError: it is taken, not ours, or not there.
    """
    try:
        return _unix(Path(address.path)) if address.path else _tcp(address)
    except OSError as error:
        raise ListenError(
            f"cannot listen on {address}: {(error.strerror or str(error)).lower()}"
        ) from None


def _tcp(address: SocketAddress) -> socket.socket:
    family, _, _, _, where = socket.getaddrinfo(
        address.host, address.port, type=socket.SOCK_STREAM
    )[0]
    found = socket.socket(family, socket.SOCK_STREAM)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            # `[::]` takes IPv4 as well, as people expect of it.
            found.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        found.bind(where)
        found.listen(BACKLOG)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


def _unix(path: Path) -> socket.socket:
    with contextlib.suppress(FileNotFoundError):
        if stat.S_ISSOCK(path.stat().st_mode) and not _answers(path):
            path.unlink()  # left behind by a process that is gone
    found = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        before = os.umask(0o117)  # owner and group may connect, others may not
        try:
            found.bind(str(path))
        finally:
            os.umask(before)
        found.listen(BACKLOG)
        found.setblocking(False)
    except OSError:
        found.close()
        raise
    return found


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)  # where its backlog is full, connecting would wait
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        except OSError:
            return True  # busy, or not ours to ask: it is not for us to remove
    return True


def bound_address(found: socket.socket) -> str:
    """The address as the operator would write it, its port resolved."""
    if found.family == socket.AF_UNIX:
        return f"unix:{found.getsockname()}"
    host, port = found.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
