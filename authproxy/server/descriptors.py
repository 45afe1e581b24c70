"""File descriptors: each connection is one, and its backend's another. As many as we may have, and a word when they are out.

When none is left, new connections are dropped as they come (libuv accepts and closes them) or wait (asyncio), and those
that are there go on; nothing spins. But only the clients would know, so somebody looks.
"""

import errno
import logging
import os
import resource

log = logging.getLogger(__name__)

SPARE = 64  # for files, listeners, the store and the loop itself


def take_all(connections: int) -> None:
    """Raise the limit on open files as far as we may, and say where that is too few for so many connections (0: no bound)."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if connections and most != resource.RLIM_INFINITY and most < connections + SPARE:
        log.warning(
            "only %d files may be open, and %d connections are allowed: raise LimitNOFILE= (or ulimit -Hn), "
            "or lower bounds.connections",
            most,
            connections,
        )


class Watch:
    """Says once when descriptors are out, and once when there are some again."""

    def __init__(self) -> None:
        self._out = False

    def look(self) -> None:
        """Try to have one more, and let go of it; some microseconds, so that it can be done several times a second."""
        try:
            os.close(os.dup(2))
        except OSError as error:
            if error.errno in {errno.EMFILE, errno.ENFILE} and not self._out:
                self._out = True
                most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
                log.warning(
                    "no file descriptor is left (of %d): new connections are dropped; raise LimitNOFILE= (or ulimit -n), "
                    "or lower bounds.connections",
                    most,
                )
        else:
            if self._out:
                log.warning("there are file descriptors again: connections are taken")
            self._out = False
