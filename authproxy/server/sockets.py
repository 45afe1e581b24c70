"""Listening sockets: bound here, or inherited by name (sd_listen_fds(3)), once, before anything is served."""

import contextlib
import os
import socket
import stat
from collections.abc import Mapping
from pathlib import Path

from authproxy.config.values import SocketAddress

BACKLOG = 1024
FIRST_INHERITED = 3  # SD_LISTEN_FDS_START


class ListenError(OSError):
    """The address cannot be listened on; the text says which and why."""


def listen(address: SocketAddress, environ: Mapping[str, str] = os.environ) -> socket.socket:
    """A listening socket at this address; port 0 takes a free one, `fd:NAME` the one that we were started with.

    Raises:
        ListenError: it is taken, not ours, or not there.
    """
    if address.fd:
        return _inherited(address, environ)
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


def _inherited(address: SocketAddress, environ: Mapping[str, str]) -> socket.socket:
    """The socket that whoever started us bound and called by this name."""
    meant = environ.get("LISTEN_PID") == str(os.getpid())  # else they were our parent's
    count = environ.get("LISTEN_FDS", "") if meant else ""
    names = environ.get("LISTEN_FDNAMES", "").split(":") if count.isdecimal() else []
    found = [at for at, name in enumerate(names[: int(count or 0)]) if name == address.fd]
    if len(found) != 1:
        others = ", ".join(sorted(set(filter(None, names)))) or "none"
        why = "several have" if found else "no socket that this process was started with has"
        raise ListenError(
            f"cannot listen on {address}: {why} that name (inherited: {others}); "
            f"set FileDescriptorName={address.fd} in one systemd socket unit"
        )
    try:
        return _checked(FIRST_INHERITED + found[0])
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise ListenError(f"cannot listen on {address}: {why.lower()}") from None


def _checked(descriptor: int) -> socket.socket:
    found = socket.socket(fileno=descriptor)
    listens = found.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    if found.type != socket.SOCK_STREAM or not listens:
        found.detach()  # it is not ours to close
        raise ValueError("the inherited socket is not a stream socket that listens")
    found.set_inheritable(False)
    found.setblocking(False)
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
