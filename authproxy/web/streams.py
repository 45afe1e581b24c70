"""Answers that can outlive who they are for: WebSockets and event streams. They end when the identity does.

The worker looks at them several times a second; a stream costs nothing in between. A route with `streams: finish`
lets them end by themselves.
"""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from authproxy.web.compat import Request


class Stream:
    """One open stream. `end` ends it from our side; `ended` says that it was."""

    __slots__ = ("_end", "ended", "ends_at")

    def __init__(self, ends_at: float, end: Callable[[], None]) -> None:
        self.ends_at = ends_at  # seconds since the epoch
        self._end = end
        self.ended = False

    def look(self, now: float) -> None:
        """End it if its time has come."""
        if now >= self.ends_at and not self.ended:
            self.ended = True
            self._end()


@contextmanager
def watched(request: Request, end: Callable[[], None]) -> Iterator[Stream]:
    """While this lasts, `end` is called once when the identity of the request is past `exp` and its leeway."""
    stream = Stream(_ends_at(request), end)
    if stream.ends_at == math.inf:
        yield stream
        return
    request.server.streams.add(stream)
    try:
        stream.look(time.time())
        yield stream
    finally:
        request.server.streams.discard(stream)


def _ends_at(request: Request) -> float:
    identity, route = request.exchange.identity, request.exchange.route
    if identity is None or identity.expires_at is None or route.finish_streams:
        return math.inf
    authenticator = request.runtime.authenticators.get(identity.authenticator)
    return identity.expires_at + (authenticator.leeway if authenticator is not None else 0.0)
