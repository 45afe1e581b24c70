"""The server of one listener: its connections counted and looked at, and what they are served with from now on.

Not many know aiohttp's server so well as this and compat.py; what it is asked for that is not public is held by the same
contract tests. No timer is made for a connection; a sweep over all of them looks at the clocks.
"""

import asyncio
from collections.abc import Iterable
from typing import Any

from aiohttp import web

from authproxy.config.listeners import Listener
from authproxy.config.schema import Bounds
from authproxy.model.address import Address
from authproxy.telemetry.metrics import Metrics
from authproxy.web.compat import (
    FRESH,
    LINGER,
    ClientConnection,
    Handler,
    RefuseUnparsed,
    Service,
)

# aiohttp's parser needs some number where the operator wants no bound.
UNBOUNDED = 1 << 30
READ_BUFFER = 64 << 10
NEVER = 1e9


async def _never(_request: web.BaseRequest) -> web.StreamResponse:
    """What aiohttp's own loop would call; ours calls `Server.handler`."""
    raise NotImplementedError


class Server(Service):
    """The server of one listener. `handler` answers what parses, `refuse_unparsed` what does not."""

    def __init__(
        self,
        handler: Handler,
        refuse_unparsed: RefuseUnparsed,
        bounds: Bounds,
        *,
        name: str,
        settings: Listener,
        runtime: Any,
        siblings: "Iterable[Server]" = (),
        tally: Metrics | None = None,
    ) -> None:
        self.name = name
        tls = settings.tls
        self.tls = tls is not None
        self.certified = tls is not None and tls.client_certificates is not None
        self.https_port = settings.redirect_to_https
        if tls is not None and tls.hsts is not None:
            self.answer_fields = b"Strict-Transport-Security: max-age=%d\r\n" % tls.hsts
        self.runtime = runtime
        self.refuse_unparsed = refuse_unparsed
        self.draining = False
        self.arriving = 0
        self._shaking: set[ClientConnection] = set()
        self.accepted = -NEVER  # when the last connection was, on the loop's clock
        self.tunnels: set[Any] = set()
        self.streams: set[Any] = set()
        self.tally = tally
        self._siblings = siblings  # `bounds.connections` is one number for all listeners
        self.apply(runtime, bounds)
        super().__init__(_never)
        self.handler = handler

    def apply(self, runtime: Any, bounds: Bounds) -> None:
        """Serve with these from the next request on; the parser's bounds hold for the next connection on."""
        self.runtime = runtime
        self.bounds = bounds
        self._options = {
            "keepalive_timeout": NEVER,  # our sweep closes idle connections: one timer for all
            "access_log": None,
            "auto_decompress": False,
            "lingering_time": LINGER,
            "read_bufsize": READ_BUFFER,
            "max_line_size": bounds.uri_bytes or UNBOUNDED,
            # Never the same number: an error says only which bound was hit.
            "max_field_size": (bounds.header_bytes or UNBOUNDED)
            + (bounds.header_bytes == bounds.uri_bytes),
            "max_headers": bounds.header_fields or UNBOUNDED,
        }

    def __call__(self) -> "ClientConnection":
        """A new connection; unlike aiohttp's own, an option it does not know is an error."""
        self.accepted = self._loop.time()
        return ClientConnection(self, loop=self._loop, **self._options)

    def connection_from(self, address: Address | None) -> ClientConnection:
        """A new connection that somebody who may say so has made for this address; None: for himself."""
        connection = self()
        if address is not None:
            connection.believe(address)
        return connection

    def begin_handshake(self, connection: ClientConnection) -> None:
        """Count a connection that has yet to shake hands."""
        self._shaking.add(connection)

    def end_handshake(self, connection: ClientConnection) -> None:
        """Its handshake has ended, one way or the other; again is nothing."""
        self._shaking.discard(connection)

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        """It is one of the server's from here on, and counted as that alone."""
        super().connection_made(handler, transport)
        if self._shaking and isinstance(handler, ClientConnection):
            self.end_handshake(handler)

    @property
    def count(self) -> int:
        """How many connections there are, those with them that have yet to shake hands or to say whose they are."""
        return len(self._connections) + len(self._shaking) + self.arriving

    @property
    def full(self) -> bool:
        """Are there more connections than there may be, those of other listeners and workers with them?"""
        if not self.bounds.connections:
            return False
        here = self.count + sum(s.count for s in self._siblings if s is not self)
        elsewhere = self.tally.connections_elsewhere(here) if self.tally else 0
        return self.bounds.connections < here + elsewhere

    def sweep(self, now: float) -> None:
        """Look at every connection's clocks; `now` is the loop's time. Called several times a second."""
        for connection, transport in list(self._connections.items()):
            if isinstance(connection, ClientConnection):
                connection.look(now, transport)

    def let_go_of_certified(self) -> None:
        """End the connections that showed a certificate: the idle ones now, the others after their request."""
        for connection in self.connections:
            if isinstance(connection, ClientConnection) and connection.certificate is not None:
                connection.retire()

    def force_close(self) -> None:
        """Close every connection once what is written has left, whatever is under way."""
        for connection in self.connections:
            connection.force_close()

    def abort(self) -> None:
        """Close every connection now."""
        for transport in list(self._connections.values()):
            transport.abort()

    def close_idle(self, now: float) -> int:
        """Close what waits for a next request; how many connections are at work, or still to make their first request."""
        # A fresh TLS handshake that is under way is none of `connections` yet; one that takes its time is not waited for.
        busy = int(self.tls and now - self.accepted < FRESH) + self.arriving
        for connection in self.connections:
            if isinstance(connection, ClientConnection) and connection.idle_at(now):
                connection.force_close()
            else:
                busy += 1
        return busy
