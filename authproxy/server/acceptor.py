"""Takes the connections of listeners with TLS or with `proxy_protocol`: there is something to wait for before HTTP begins.

Who has yet to say whose a connection is, or to shake hands, is one of the connections that are bounded, and past the bound
it is closed at once. A PROXY header is read from the socket itself, to its last byte and not one further, and the socket then
handed over. The event loops' own acceptors know neither.
"""

import asyncio
import errno
import logging
import socket
import ssl
import time
from collections.abc import Sequence

from authproxy.model.address import Address, Network, Networks, peer_address
from authproxy.server.proxy_protocol import HEADER_MOST, BadHeader, header_end, told_address
from authproxy.web.listener import Server

log = logging.getLogger(__name__)

AT_ONCE = 64  # connections taken before others get their turn
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
PAUSE = 0.5  # seconds until the next try where the system has nothing left to give
WARN_EVERY = 60.0  # seconds; whoever connects wrongly does so again and again


class Acceptor:
    """Accepts on a socket, which is its own, until it is closed.

    A handshake has `patience` seconds as well. A peer in `networks` must send a header first, for which it has `patience` seconds (None: any time); anybody else is
    served as itself, and a header from there is as good as any other junk. `arriving` holds a task for each connection
    that is not the server's yet.
    """

    def __init__(
        self,
        sock: socket.socket,
        server: Server,
        networks: Sequence[Network],
        *,
        tls: ssl.SSLContext | None,
        patience: float | None,
        arriving: "set[asyncio.Task[None]]",
    ) -> None:
        self._sock = sock
        self._server = server
        self._networks = Networks(networks)
        self._tls = tls
        self._patience = patience
        self._arriving = arriving
        self._warned = -WARN_EVERY
        self._pause: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(sock, self._accept)

    def close(self) -> None:
        """Accept no more; those that have been accepted go on."""
        if self._pause is not None:
            self._pause.cancel()
        if self._sock.fileno() >= 0:
            self._loop.remove_reader(self._sock)
            self._sock.close()

    def _accept(self) -> None:
        for _ in range(AT_ONCE):
            try:
                connection, name = self._sock.accept()
            except (BlockingIOError, InterruptedError):
                return  # another worker was quicker, or that was all
            except ConnectionAbortedError:
                continue
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                log.warning("%s: no connection can be taken: %s", self._server.name, error.strerror)
                self._loop.remove_reader(self._sock)
                self._pause = self._loop.call_later(
                    PAUSE, self._loop.add_reader, self._sock, self._accept
                )
                return
            connection.setblocking(False)
            if connection.family != socket.AF_UNIX:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer = peer_address(name)
            if peer is None:
                connection.close()
                continue
            task = self._loop.create_task(self._admit(connection, peer))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

    async def _admit(self, connection: socket.socket, peer: Address) -> None:
        """Read the header where there must be one, and hand the connection over."""
        client = peer  # as it was taken: a socket that was reset meanwhile cannot tell any more
        try:
            if peer in self._networks:
                client = await self._read(connection) or peer
            await self._shake_hands(connection, client)
        except BadHeader as bad:
            connection.close()
            self._warn(peer, str(bad))
        except OSError:  # it went away, took too long, or its handshake failed
            connection.close()
        except BaseException:
            connection.close()
            raise

    async def _shake_hands(self, connection: socket.socket, client: Address) -> None:
        """Hand the connection over, after its handshake where there is one; until then it counts as one of the server's.

        Raises:
            OSError: it failed, took too long, or there are too many connections.
        """
        taken = self._server.connection_from(client)
        if self._tls is not None:
            self._server.begin_handshake(taken)
        try:
            if self._tls is not None and self._server.full:
                # A 503 would cost a handshake, and that is what whoever opens so many is after.
                self._refused()
                raise ConnectionAbortedError("too many connections")
            await self._loop.connect_accepted_socket(
                lambda: taken,
                connection,
                ssl=self._tls,
                ssl_handshake_timeout=self._patience if self._tls else None,
            )
        finally:
            self._server.end_handshake(taken)

    async def _read(self, connection: socket.socket) -> Address | None:
        """The client that the header names; the connection counts meanwhile as one of the server's.

        Raises:
            BadHeader: there is none.
            OSError: it ended, or took too long.
        """
        if self._server.full:
            raise ConnectionAbortedError("too many connections")
        self._server.arriving += 1
        try:
            async with asyncio.timeout(self._patience):
                return told_address(await read_header(connection))
        finally:
            self._server.arriving -= 1

    def _warn(self, peer: Address, why: str) -> None:
        if self._speaks():
            log.warning("%s: a connection from %s was closed, its PROXY header: %s", self._server.name, peer, why)  # fmt: skip

    def _refused(self) -> None:
        name = self._server.name
        if self._server.tally is not None:
            self._server.tally.add("authproxy_handshakes_refused_total", 1, listener=name)
        if self._speaks():
            log.warning("%s: connections are closed before their handshake, there are `bounds.connections` already", name)  # fmt: skip

    def _speaks(self) -> bool:
        now = time.monotonic()
        speaks = now - self._warned >= WARN_EVERY
        if speaks:
            self._warned = now
        return speaks


async def read_header(connection: socket.socket) -> bytes:
    """The header at the beginning of a connection; what follows it is left there.

    Raises:
        BadHeader: it does not begin with one.
        ConnectionAbortedError: it ended in the middle of one.
    """
    head = b""
    while True:
        try:
            seen = connection.recv(HEADER_MOST, socket.MSG_PEEK)
        except BlockingIOError:
            await _readable(connection)
            continue
        if not seen:
            raise ConnectionAbortedError("no header came")
        end = header_end(head + seen)
        # As long as the end is not known all that came belongs to it: it is taken, or the socket would stay readable.
        head += connection.recv(len(seen) if end is None else min(len(seen), end - len(head)))
        if end == len(head):
            return head


async def _readable(connection: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_reader(connection, wake)
    try:
        await ready
    finally:
        loop.remove_reader(connection)
