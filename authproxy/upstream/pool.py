"""The connections to one upstream: those that are busy, those that wait for the next exchange.

`idle` gives one at once, `connect` opens one; both take turns over the servers. One ticker a pool looks at the busy ones
while there are any, so that an exchange costs no timer; between them one timer waits for the oldest idle one to expire.
"""

import asyncio
import ssl
import time
from collections.abc import Callable, Sequence

from authproxy.model.errors import Refusal
from authproxy.upstream.balance import RoundRobin
from authproxy.upstream.connection import Connection, StaleConnection, Timeouts
from authproxy.upstream.dial import Server, dial, tls_context

__all__ = ["Connection", "Pool", "Server", "StaleConnection", "Timeouts"]

PACE = (0.05, 0.25)  # seconds between two looks at the busy ones
HASTE = 1.0  # seconds before the moment that the backend named, so that it does not close what we are writing to


class Pool:
    """Connections to one upstream.

    Args:
        servers: at least one.
        timeouts: in seconds.
        tls: for https servers; the system's authorities without it.
        server_name: the name that their certificates must have; each server's host without it.
        header_bytes: the bound on an answer's head, and on the trailers of a body.
        header_fields: the bound on the number of a head's fields.
        keepalive: seconds for which an idle connection is kept; less where the backend says so.
        most_idle: idle connections kept for each server.
    """

    def __init__(
        self,
        servers: Sequence[Server],
        timeouts: Timeouts,
        tls: ssl.SSLContext | None = None,
        server_name: str | None = None,
        *,
        header_bytes: int = 65536,
        header_fields: int = 256,
        keepalive: float = 60.0,
        most_idle: int = 128,
    ) -> None:
        self._servers = tuple(servers)
        self._timeouts = timeouts
        self._tls = tls or (tls_context() if any(s.scheme == "https" for s in servers) else None)
        self._server_name = server_name
        self._header_bytes = header_bytes
        self._header_fields = header_fields
        self._keepalive = keepalive
        self._most_idle = most_idle
        self._turns = RoundRobin(len(self._servers))
        self._idle: tuple[list[Connection], ...] = tuple([] for _ in self._servers)  # oldest first
        self._busy: set[Connection] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._ticking = False
        self._closed = False
        self._several = len(self._servers) > 1
        self._clock: Callable[[], float] = time.monotonic  # the loop's own, once there is one
        shortest = min(timeouts.response, timeouts.idle)
        self._pace = max(PACE[0], min(PACE[1], shortest / 4))

    @property
    def busy_count(self) -> int:
        """Connections that carry an exchange or are closing."""
        return len(self._busy)

    @property
    def idle_count(self) -> int:
        """Connections that wait for the next exchange."""
        return sum(map(len, self._idle))

    def idle(self) -> Connection | None:
        """A connection to the server whose turn it is, the most recently used; None when `connect` has to open one."""
        now = self._clock()
        server = self._turns.next(now) if self._several else 0
        waiting = self._idle[server]
        while waiting:
            connection = waiting.pop()
            if connection.usable() and connection.expires > now:
                if self._several:
                    self._turns.given(server)
                self._take(connection)
                return connection
            connection.abort()
        return None

    async def connect(self) -> Connection:
        """A fresh connection to the server whose turn it is, or to the next one that can be reached.

        Raises:
            Refusal: `upstream_timeout` when each server took longer than `connect`, else `upstream_unreachable` with
                what the last of the others said.
        """
        self._clock = asyncio.get_running_loop().time
        now = self._clock()
        refusal = Refusal("upstream_unreachable", "no_server")
        for server in self._turns.order(now):
            try:
                connection = await self._dial(server)
            except Refusal as found:
                self._turns.failed(server, now)
                if refusal.reason == "no_server" or found.code == "upstream_unreachable":
                    refusal = found
            else:
                self._turns.reached(server)
                self._turns.given(server)
                self._take(connection)
                return connection
        try:
            raise refusal
        finally:
            del refusal  # its traceback holds this frame

    async def _dial(self, place: int) -> Connection:
        server = self._servers[place]
        authority = server.authority

        def make() -> Connection:
            return Connection(
                self,
                self._timeouts,
                header_bytes=self._header_bytes,
                header_fields=self._header_fields,
                server=place,
                authority=authority,
            )

        return await dial(server, make, self._timeouts.connect, self._tls, self._server_name)

    async def close(self) -> None:
        """Close the idle ones and keep no more: what is busy ends its exchange and then its connection."""
        self._closed = True
        for waiting in self._idle:
            while waiting:
                waiting.pop().close()
        await asyncio.sleep(0)  # asyncio closes sockets in its next round

    # The connections' side.

    def keep(self, connection: Connection, hint: float | None) -> bool:
        """Put a connection back, unless there are enough."""
        waiting = self._idle[connection.server]
        if self._closed or len(waiting) >= self._most_idle:
            return False
        lasts = self._keepalive if hint is None else min(self._keepalive, hint - HASTE)
        if lasts <= 0:
            return False
        connection.expires = self._clock() + lasts
        connection.reused = True
        self._busy.discard(connection)
        waiting.append(connection)
        return True

    def forget(self, connection: Connection) -> None:
        """A connection is gone."""
        self._busy.discard(connection)
        waiting = self._idle[connection.server]
        if connection in waiting:
            waiting.remove(connection)

    # The ticker.

    def _take(self, connection: Connection) -> None:
        self._busy.add(connection)
        if not self._ticking:
            self._ticking = True
            self._schedule(self._clock() + self._pace)

    def _schedule(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._tick)

    def _tick(self) -> None:
        now = self._clock()
        self._timer = None
        for connection in tuple(self._busy):
            connection.look(now)
        self._expire(now)
        self._ticking = bool(self._busy)
        if self._ticking:
            self._schedule(now + self._pace)
        elif self.idle_count:
            self._schedule(min(c.expires for waiting in self._idle for c in waiting))

    def _expire(self, now: float) -> None:
        for waiting in self._idle:
            for connection in [c for c in waiting if c.expires <= now]:
                waiting.remove(connection)
                connection.close()
