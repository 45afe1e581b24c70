"""The listeners of a worker: a server for each, and what takes connections for it.

Who takes connections can be replaced while they come: each has a copy of the bound socket, so that the next one is
there before the last one leaves, and nobody who connects meanwhile is turned away.
"""

import asyncio
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from authproxy.config.listeners import Listener
from authproxy.config.schema import Bounds
from authproxy.runtime import Runtime
from authproxy.server.acceptor import Acceptor
from authproxy.server.sockets import BACKLOG
from authproxy.server.tls import Certificates
from authproxy.telemetry.metrics import Metrics
from authproxy.web.chain import compose, compose_redirection
from authproxy.web.envelope import refuse_unparsed
from authproxy.web.listener import Server


@dataclass(frozen=True, slots=True)
class Listening:
    """A bound socket, what it is called, how it was asked for, and the certificates that it shows (None: it is plain)."""

    sock: socket.socket
    name: str
    settings: Listener
    certificates: Certificates | None


class Listeners:
    """All listeners of a worker, in the configuration's order."""

    def __init__(self, listening: Sequence[Listening]) -> None:
        self.listening = list(listening)
        self.servers: list[Server] = []
        self._acceptors: list[asyncio.Server | Acceptor] = []
        self._arriving: set[asyncio.Task[None]] = set()

    async def start(self, runtime: Runtime, tally: Metrics) -> None:
        """Take connections."""
        bounds, serve, redirect = runtime.config.bounds, compose(), compose_redirection()
        for one in self.listening:
            server = Server(
                serve if one.settings.redirect_to_https is None else redirect,
                refuse_unparsed,
                bounds,
                name=one.name,
                settings=one.settings,
                runtime=runtime,
                siblings=self.servers,
                tally=tally,
            )
            self.servers.append(server)
            self._acceptors.append(await self._accept(one, server, bounds))

    async def _accept(
        self, one: Listening, server: Server, bounds: Bounds
    ) -> asyncio.Server | Acceptor:
        sock, networks = one.sock.dup(), one.settings.proxy_protocol
        tls = one.certificates.context if one.certificates else None
        patience = bounds.handshake or None
        if networks is not None or tls is not None:
            sock.listen(BACKLOG)
            return Acceptor(
                sock, server, networks or (), tls=tls, patience=patience, arriving=self._arriving
            )
        return await asyncio.get_running_loop().create_server(server, sock=sock, backlog=BACKLOG)

    async def take_over(self, runtime: Runtime, certificates: Mapping[int, Certificates]) -> None:
        """Serve with these from now on. Connections go on, but for those that other authorities have let in."""
        bounds = runtime.config.bounds
        for server in self.servers:
            server.apply(runtime, bounds)
        for index, found in certificates.items():
            before, server = self.listening[index], self.servers[index]
            assert before.certificates is not None, "whether a listener speaks TLS is fixed"
            if before.certificates.fingerprint == found.fingerprint:
                continue  # sessions may go on being resumed
            now = self.listening[index] = replace(before, certificates=found)
            previous = self._acceptors[index]
            self._acceptors[index] = await self._accept(now, server, bounds)
            previous.close()
            if before.certificates.authorities != found.authorities:
                server.let_go_of_certified()

    def stop(self) -> None:
        """Take no more connections."""
        for acceptor in self._acceptors:
            acceptor.close()
        for one in self.listening:
            one.sock.close()  # or the system would go on to take connections in our name

    async def end(self) -> None:
        """Let go of the connections that have yet to say whose they are."""
        for task in self._arriving:
            task.cancel()
        await asyncio.gather(*self._arriving, return_exceptions=True)

    def counts(self) -> dict[str, int]:
        """How many connections there are, by the listener's name."""
        counts: dict[str, int] = {}
        for server in self.servers:
            counts[server.name] = counts.get(server.name, 0) + server.count
        return counts
