"""What can outlive who it is for: WebSockets, event streams, long bodies either way. They end when the identity does.

The worker looks at their times several times a second, and at the revocation list when it grew; a stream costs nothing in
between, and what is whole at once is never one. A route with `streams: finish` lets them end by themselves.
"""

import asyncio
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from authproxy.authn.revocation import Revocations
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity
from authproxy.web.compat import Request


class Stream:
    """One open stream of an identity. `end` ends it from our side; `code` says why that was done, "" where it was not."""

    __slots__ = ("_changes", "_end", "_identity", "code", "ends_at")

    def __init__(self, identity: Identity, ends_at: float, end: Callable[[], None]) -> None:
        self._identity = identity
        self.ends_at = ends_at  # seconds since the epoch
        self._end = end
        self._changes = -1  # of the list when it was last asked
        self.code = ""

    def look(self, now: float, revocations: Revocations) -> None:
        """End it if its time has come, or its identity was revoked."""
        if self.code:
            return
        if now >= self.ends_at:
            self.code = "token_expired"
        elif revocations.changes != self._changes:
            self._changes = revocations.changes
            if revocations.why(self._identity):
                self.code = "token_revoked"
        if self.code:
            self._end()


@contextmanager
def watched(
    request: Request, end: Callable[[], None], *, expires: bool = False
) -> Iterator[Stream | None]:
    """While this lasts, `end` is called once when the identity of the request ends: by revocation, and where the stream
    `expires` also at its `exp` and leeway. None: there is nothing to wait for.

    Raises:
        Refusal: what `end` made fail, by the code that it was ended for.
    """
    identity = request.exchange.identity
    if identity is None or request.exchange.route.finish_streams:
        yield None
        return
    stream = Stream(identity, _ends_at(request, identity) if expires else math.inf, end)
    request.server.streams.add(stream)
    try:
        # What changed since the identity was found shows here.
        stream.look(time.time(), request.runtime.revocations)
        yield stream
    except asyncio.CancelledError:  # by the client's connection, which `end` may have reset
        if stream.code:
            request.exchange.code, request.exchange.reason = stream.code, "stream"
        raise
    except (Refusal, ConnectionError):
        if not stream.code:
            raise
        engine = request.exchange.engine
        raise Refusal(
            stream.code, "stream", headers=engine.authentication.refused, close=True
        ) from None
    finally:
        request.server.streams.discard(stream)


def _ends_at(request: Request, identity: Identity) -> float:
    if identity.expires_at is None:
        return math.inf
    authenticator = request.runtime.authenticators.get(identity.authenticator)
    return identity.expires_at + (authenticator.leeway if authenticator is not None else 0.0)
