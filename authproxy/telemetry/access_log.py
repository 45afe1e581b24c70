"""The access log: one line a request, made in one go, written in batches.

A line never holds a token, a cookie, a query or an unescaped control byte. A disk that is full loses lines and counts
them; it never fails a request.
"""

import asyncio
import fcntl
import json
import logging
import os
import re
import select
import stat
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from typing import BinaryIO

import orjson

from authproxy.model.exchange import Exchange

log = logging.getLogger(__name__)

WAITING_MOST = 4 << 20  # bytes of lines that wait for the reader of a pipe
LAST_PATIENCE = 1.0  # seconds that a slow reader is given at the end
AGAIN = 0.01  # seconds between two tries while lines wait
BATCH_BYTES = 64 << 10
WARN_EVERY = 60.0  # seconds; a disk that is full loses thousands of lines a second

# What JSON leaves as it is and terminals, log shippers or line splitters do not: DEL, C1, U+2028, U+2029.
_UNSAFE = re.compile("[\x7f-\x9f\u2028\u2029]|[\ud800-\udfff]")


@lru_cache(maxsize=4)
def _second(second: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))


@lru_cache(maxsize=4)
def _common_second(second: int) -> str:
    return time.strftime("%d/%b/%Y:%H:%M:%S +0000", time.gmtime(second))


def json_line(x: Exchange, seconds: float) -> bytes:
    """The line of contract section 7, with its newline; `seconds` is how long the request took."""
    route, identity = x.route, x.identity
    record = {
        "time": f"{_second(int(x.now))}.{int(x.now * 1000) % 1000:03d}Z",
        "request_id": x.request_id,
        "client": x.client_text,
        "method": x.method,
        "host": x.host,
        "path": x.path,
        "status": x.status,
        "bytes_in": x.bytes_in,
        "bytes_out": x.bytes_out,
        "seconds": int(seconds * 1e6) / 1e6,
        "route": route and route.name,
        "upstream": route and route.upstream,
        "subject": identity and identity.subject,
        "authenticator": identity and identity.authenticator,
        "decision": "allow" if x.admitted else "refuse",
        "code": x.code or None,
        "reason": x.reason or None,
        "shadow": x.shadow or None,
    }
    try:
        line = orjson.dumps(record, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:  # a lone surrogate: no UTF-8, but a line that somebody will look for
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"
    if line.isascii() and b"\x7f" not in line:
        return line
    return _escaped(line)


def _escaped(line: bytes) -> bytes:
    return _UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", line.decode()).encode()


def combined_line(x: Exchange, _seconds: float) -> bytes:
    """The Apache combined format; the path is decoded and without its query, referer and agent are what came."""
    when = _common_second(int(x.now))
    user = _quoted(x.identity.subject) if x.identity is not None else "-"
    request = _quoted(f"{x.method or '-'} {x.path or '-'} HTTP/{x.http_version}")
    agent = _quoted(x.headers.get("user-agent", "-"))
    # The referer is another site's URL, query and all: only where it came from is kept.
    referer = _quoted(x.headers.get("referer", "-").partition("?")[0])
    return (
        f'{x.client_text} - {user.replace(" ", "_")} [{when}] "{request}" {x.status} {x.bytes_out} "{referer}" "{agent}"\n'
    ).encode()


def _quoted(text: str) -> str:
    return re.sub(
        '[\x00-\x1f"\\\\\x7f-\x9f\u2028\u2029\ud800-\udfff]',
        lambda m: "\\" + m[0] if m[0] in '"\\' else f"\\u{ord(m[0]):04x}",
        text,
    )


FORMATS: dict[str, Callable[[Exchange, float], bytes]] = {
    "json": json_line,
    "combined": combined_line,
}


class AccessLog:
    """Collects lines and writes them when they are many or `flush()` is called (a timer does, several times a second)."""

    __slots__ = (
        "_again", "_bytes", "_file", "_format", "_lines", "_path", "_pipe", "_warned", "lost",
    )  # fmt: skip

    def __init__(self, path: str, line_format: str) -> None:
        self._path = path
        self._format = FORMATS.get(line_format)
        self._lines: list[bytes] = []
        self._bytes = 0
        self.lost = 0
        self._warned = float("-inf")  # when we last said that lines are lost
        self._again: asyncio.TimerHandle | None = None  # while lines wait for a reader
        self._file: BinaryIO | None = None
        self._pipe: int | None = (
            None  # its descriptor, where it is one (or a socket: the journal's)
        )
        self.reopen()

    def reopen(self) -> None:
        """Open the file again by its name, as after a rotation.

        Raises:
            OSError: it cannot be opened for appending; the old one is written on.
        """
        if self._format is None:
            return
        opened: BinaryIO = sys.stdout.buffer
        if self._path != "-":
            opened = open(self._path, "ab", buffering=0)  # noqa: SIM115, PTH123  # kept open for the life of the log
        self.close()
        self._file, self._pipe = opened, _pipe_of(opened)

    def rotate(self) -> None:
        """Open the file again, or say why not and go on with the old one."""
        try:
            self.reopen()
        except OSError as error:
            log.error("the access log %s cannot be opened again: %s", self._path, error)  # noqa: TRY400  # the error says it all

    def write(self, exchange: Exchange, seconds: float) -> None:
        """Note one request."""
        if self._format is None:
            return
        try:
            line = self._format(exchange, seconds)
        except Exception as error:  # whatever a line trips over must not fail the request
            self._lose(1, type(error).__name__)
            return
        self._lines.append(line)
        self._bytes += len(line)
        if self._bytes > BATCH_BYTES:
            self.flush()

    def flush(self) -> None:
        """Write what was collected."""
        if not self._lines or self._file is None:
            return
        lines, self._lines, self._bytes = self._lines, [], 0
        try:
            if self._pipe is None:
                _write_all(self._file, b"".join(lines))
            else:
                self._write_pipe(self._file, self._pipe, lines)
        except (OSError, ValueError) as error:
            self._lose(len(lines), getattr(error, "strerror", None) or type(error).__name__)

    def _write_pipe(self, file: BinaryIO, pipe: int, lines: list[bytes]) -> None:
        """Write as much as there is room for. A reader that stops reading must not stop the proxy: the rest waits, and
        what is more than `WAITING_MOST` is lost.
        """
        with _locked(pipe):
            pieces = list(_pieces(lines))
            while pieces and _has_room(pipe, len(pieces[0])):
                _write_all(file, pieces.pop(0))
        self._lines = pieces + self._lines
        if pieces and self._again is None:
            with suppress(RuntimeError):  # no loop runs: whoever closes the log writes the rest
                self._again = asyncio.get_running_loop().call_later(AGAIN, self._try_again)
        waiting = sum(map(len, self._lines))
        while waiting > WAITING_MOST:
            lost = self._lines.pop(0)
            waiting -= len(lost)
            self._lose(lost.count(b"\n"), "nobody reads them")

    def _try_again(self) -> None:
        self._again = None
        self.flush()

    def _lose(self, lines: int, why: str) -> None:
        """Count, and say so once: an access log that is silently incomplete is found out too late."""
        self.lost += lines
        now = time.monotonic()
        if now - self._warned > WARN_EVERY:
            self._warned = now
            log.warning(
                "lines of the access log %s are being lost (%d so far): %s",
                self._path,
                self.lost,
                why.lower(),
            )

    def close(self) -> None:
        """Write the rest, for which a slow reader is given `LAST_PATIENCE` seconds, and let go of the file."""
        end = time.monotonic() + LAST_PATIENCE
        self.flush()
        while self._lines and self._pipe is not None and time.monotonic() < end:
            time.sleep(AGAIN)
            self.flush()
        if self._file is not None and self._path != "-":
            self._file.close()
        self._file = None


def _write_all(file: BinaryIO, data: bytes) -> None:
    left = memoryview(data)
    while left:  # a raw file may take a part only, and half a line spoils the next
        left = left[file.write(left) :]
    file.flush()


def _pipe_of(file: BinaryIO) -> int | None:
    """Its descriptor where others' writes may come between ours: nothing there keeps a long write together (pipe(7))."""
    try:
        descriptor = file.fileno()
        mode = os.fstat(descriptor).st_mode
    except (OSError, ValueError):
        return None
    return descriptor if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else None


def _has_room(pipe: int, length: int) -> bool:
    """Can this be written without waiting? `poll` promises PIPE_BUF bytes and no more; a longer line needs a look."""
    poll = select.poll()
    poll.register(pipe, select.POLLOUT)
    if not poll.poll(0):
        return False
    if length <= select.PIPE_BUF or not stat.S_ISFIFO(os.fstat(pipe).st_mode):
        return True
    unread = int.from_bytes(fcntl.ioctl(pipe, termios.FIONREAD, bytes(4)), sys.byteorder)
    # Pages of a pipe may be half full: twice the length is surely enough.
    return fcntl.fcntl(pipe, fcntl.F_GETPIPE_SZ) - unread >= 2 * length


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """Whole lines, as many as the kernel keeps together."""
    piece = b""
    for line in lines:
        if piece and len(piece) + len(line) > select.PIPE_BUF:
            yield piece
            piece = b""
        piece += line
    yield piece


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """The other workers wait: a line may be longer than what the kernel keeps together."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
