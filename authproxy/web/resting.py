"""What a client's connection need not hold while nothing is asked of it.

uvloop has 256 KiB for each TLS connection to read into, which only the callback of a read needs: their pages go back to
the system, the memory stays where it is. aiohttp's parser holds the fields of the last request, credentials with them,
until the next one comes. No timer and no task: whoever calls knows when. Hooks that are not public, each with a contract
test (tests/web/test_resting.py).
"""

import asyncio
import ctypes
import mmap
import os
from typing import Any

from aiohttp.http_parser import HttpRequestParser
from aiohttp.web import RequestPayloadError, Server
from aiohttp.web_protocol import RequestHandler

from authproxy.madvise import madvise

PAGE = mmap.PAGESIZE
# Seconds of idleness. What is let go of costs the next request some microseconds, so only the first time it is done at
# once. With the handshake itself it would cost those that come and go as well: 80 µs more each (measured).
REST = 5.0
HEAD_END = b"\r\n\r\n"
# Where malloc is told to take huge pages of its own, some kernels give more back than was asked (madvise(2), 5.18 to 6.0).
_GIVES = "glibc.malloc.hugetlb=2" not in os.environ.get("GLIBC_TUNABLES", "")


class RestingHandler(RequestHandler):
    """aiohttp's side of a connection, which can `rest` while nothing is under way; `wake` before it parses again."""

    __slots__ = ("_between", "_rested")

    def __init__(self, manager: Server, **options: Any) -> None:
        super().__init__(manager, **options)
        # What came last ended as a head does. So nothing of a further one is in the parser, as that would have been whole
        # there; while a request or its body is under way this says nothing.
        self._between = False
        self._rested = 0.0  # when the idleness began in which it rested last; 0: it has not yet

    def rest(self, transport: asyncio.BaseTransport, since: float) -> None:
        """Let go of what the next request makes anew; once for the idleness that began at `since`, which is not 0."""
        if self._rested == since:
            return
        self._rested = since
        give_back(transport)
        # A parser in the middle of a message would take what is left of it for another one (CWE-444).
        if self._between and not (self._upgraded or self._reading_paused or self._buffer_paused):
            self._parser = None

    def wake(self) -> None:
        """Have a parser again, the same that a new connection has; without a client there is nothing to parse."""
        if self.transport is None:
            return
        self._parser = HttpRequestParser(
            self,
            self._loop,
            self._read_bufsize,
            max_line_size=self.max_line_size,
            max_field_size=self.max_field_size,
            max_headers=self.max_headers,
            payload_exception=RequestPayloadError,
            auto_decompress=False,
            max_msg_queue_size=self._max_msg_queue_size,
        )


def give_back(transport: asyncio.BaseTransport) -> None:
    """Let go of the pages that a TLS connection reads into; a plain one, and one of another loop, has none.

    malloc lays them over what the handshakes before needed for a moment: 12 KiB a connection would stay resident that
    nobody touches again (measured), and all 256 after a body that came fast. What is read is taken from there before
    the read's callback ends, so nothing is lost; the next read has fresh pages, as many as it fills.
    """
    end = transport.get_extra_info("uvloop.sslproto")
    if end is None or not _GIVES:
        return
    memory = end.get_buffer(0)
    begin = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    # Whole pages only: what lies before and behind is not ours.
    first, last = -(-begin // PAGE) * PAGE, (begin + len(memory)) // PAGE * PAGE
    if first < last:
        madvise(first, last, mmap.MADV_DONTNEED)
