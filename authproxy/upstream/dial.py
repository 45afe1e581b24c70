"""Opening a socket to a backend: TCP, TLS that is always verified, unix.

A name is resolved at each dial. Nothing here can turn verification off.
"""

import asyncio
import ipaddress
import re
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from authproxy.model.errors import Refusal

ConnectionT = TypeVar("ConnectionT", bound=asyncio.Protocol)

PORTS = {"http": 80, "https": 443}
LABEL = r"[A-Za-z0-9_-]{1,63}"
ADDRESS = re.compile(
    rf"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.]+\]|{LABEL}(?:\.{LABEL})*\.?)(?::(?P<port>\d{{1,5}}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where a backend listens: `host` and `port` for http and https, `path` for unix."""

    scheme: Literal["http", "https", "unix"]
    host: str = ""
    port: int = 0
    path: str = ""

    def __str__(self) -> str:
        if self.scheme == "unix":
            return f"unix:{self.path}"
        return f"{self.scheme}://{self._host}:{self.port}"

    @property
    def _host(self) -> str:
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def authority(self) -> bytes:
        """The Host header of `host: upstream`, RFC 9110 section 7.2: without the scheme's own port; a socket's is localhost."""
        if self.scheme == "unix":
            return b"localhost"
        port = "" if self.port == PORTS[self.scheme] else f":{self.port}"
        return f"{self._host}{port}".encode()

    @classmethod
    def parse(cls, text: str) -> "Server":
        """`http://127.0.0.1:9000`, `https://orders.internal`, `http://[::1]:9000` or `unix:/run/orders.sock`.

        Raises:
            ValueError: anything else, with what is wrong and what to write instead.
        """
        if text.startswith("unix:"):
            return parse_socket(text.removeprefix("unix:"))
        found = ADDRESS.fullmatch(text)
        if found is None:
            raise ValueError(explain(text))
        host = found["host"]
        if host.startswith("["):
            host = str(ipaddress.IPv6Address(host[1:-1]))
        scheme: Literal["http", "https"] = "https" if found["scheme"] == "https" else "http"
        port = int(found["port"] or PORTS[scheme])
        if not 0 < port < 65536:
            raise ValueError(f"{port} is no port: write one from 1 to 65535")
        return cls(scheme, host, port)


def parse_socket(path: str) -> Server:
    """The server at a socket's absolute path."""
    if not path.startswith("/") or path.startswith("//") or "\0" in path:
        raise ValueError("the path of a unix socket is absolute: write unix:/run/name.sock")
    return Server("unix", path=path)


def explain(text: str) -> str:
    """Words for a text that is no server's address. Userinfo is a secret and is not quoted."""
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in PORTS:
        return "a server begins with http://, https:// or unix:/"
    if "@" in rest:
        return "a server's URL holds no user or password: backends get the caller's identity in headers"
    if any(mark in rest for mark in "/?#"):
        return "a server's URL ends after its port: paths are rewritten by a route's `rewrite`"
    return "a server is scheme://host:port with an ASCII host name, an IPv4 address or an [IPv6] address"


def tls_context(
    ca: Path | None = None, certificate: Path | None = None, private_key: Path | None = None
) -> ssl.SSLContext:
    """A client's TLS: 1.2 or newer, the server verified against `ca` (the system's authorities without it), HTTP/1.1.

    `certificate` and `private_key` (PEM) are shown to a backend that asks for them.

    Raises:
        OSError: a file cannot be read or is not what it should be (ssl.SSLError is one).
    """
    context = ssl.create_default_context(cafile=ca)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        context.load_cert_chain(certificate, private_key)
    return context


async def dial(
    server: Server,
    make: Callable[[], ConnectionT],
    within: float,
    tls: ssl.SSLContext | None = None,
    server_name: str | None = None,
) -> ConnectionT:
    """An open connection to the server, TLS handshake included, within so many seconds.

    `server_name` is the name that its certificate must have, by default its host.

    Raises:
        Refusal: `upstream_unreachable` with why; `upstream_timeout`, reason `connect`, as nginx, Caddy and Traefik
            answer 504 there.
    """
    try:
        async with asyncio.timeout(within):
            return await open_socket(server, make, tls, server_name)
    except TimeoutError:
        raise Refusal("upstream_timeout", "connect") from None
    except OSError as error:  # ssl.SSLError and socket.gaierror are among them
        raise Refusal("upstream_unreachable", why(error)) from error


async def open_socket(
    server: Server,
    make: Callable[[], ConnectionT],
    tls: ssl.SSLContext | None,
    server_name: str | None,
) -> ConnectionT:
    loop = asyncio.get_running_loop()
    if server.scheme == "unix":
        return (await loop.create_unix_connection(make, server.path))[1]
    if server.scheme == "http":
        transport, connection = await loop.create_connection(make, server.host, server.port)
    else:
        transport, connection = await loop.create_connection(
            make,
            server.host,
            server.port,
            ssl=tls or tls_context(),
            server_hostname=server_name or server.host,
        )
    # A head and a small body must not wait for each other's acknowledgement.
    transport.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def why(error: OSError) -> str:
    """A short word for the log."""
    return next((word for kind, word in REASONS if isinstance(error, kind)), "network")


REASONS: tuple[tuple[type[OSError], str], ...] = (
    (ssl.SSLCertVerificationError, "certificate"),
    (ssl.SSLError, "tls"),
    (socket.gaierror, "name"),
    (ConnectionRefusedError, "refused"),
    (ConnectionResetError, "reset"),
    (FileNotFoundError, "socket_missing"),
    (PermissionError, "permission"),
)
