"""A log of one line a request: collected, written in batches, opened again after a rotation.

A disk that is full loses lines and counts them, and so does a reader that stops reading: what waits is bounded, and no
request ever fails or waits for its line. A line that comes after the log was closed is written all the same, by itself.
What is in a line is its maker's business.
"""

import asyncio
import errno
import fcntl
import logging
import os
import select
import stat
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import BinaryIO

from authproxy.model.exchange import Exchange

log = logging.getLogger(__name__)

WAITING_MOST = 4 << 20  # bytes of lines that wait for the reader of a pipe
LAST_PATIENCE = 1.0  # seconds that a slow reader is given at the end
READER_PATIENCE = 5.0  # seconds that a pipe without a reader is given when the log begins
AGAIN = 0.01  # seconds between two tries while lines wait
BATCH_BYTES = 64 << 10
WARN_EVERY = 60.0  # seconds; a disk that is full loses thousands of lines a second

# What makes the line of a request that took so many seconds, with its newline; None where it has none.
LineOf = Callable[[Exchange, float], bytes | None]


class LineLog:
    """Collects lines and writes them when they are many or `flush()` is called (a timer does, several times a second).

    `path` `-` is stdout; None is nowhere. A `private` file is for its owner alone, whoever made it (mode 0600). `name` is
    which log it is: `access`, `decision`.
    """

    __slots__ = (
        "_again", "_buffer", "_file", "_filled", "_line_of", "_path", "_pipe", "_private", "_torn", "_waiting", "_warned",
        "lost", "name",
    )  # fmt: skip

    def __init__(
        self, path: str | None, line_of: LineOf, name: str, *, private: bool = False
    ) -> None:
        self.name = name
        self._path = path
        self._line_of = line_of
        self._private = private
        # Lines are copied to where lines were before: kept as they were made they would be spread over half a megabyte that
        # no processor has at hand.
        self._buffer = bytearray(BATCH_BYTES if path is not None else 0)
        self._filled = 0
        self._waiting: list[bytes] = []  # pieces for which a pipe has no room yet
        self.lost = 0
        self._warned = float("-inf")  # when we last said that lines are lost
        self._torn = False  # did we leave a part of a line?
        self._again: asyncio.TimerHandle | None = None  # while lines wait for a reader
        self._file: BinaryIO | None = None
        self._pipe: int | None = (
            None  # its descriptor, where it is one (or a socket: the journal's)
        )
        self._open(READER_PATIENCE)

    def reopen(self) -> None:
        """Open the file again by its name, as after a rotation. Does not wait, also where nobody reads a pipe.

        Raises:
            OSError: it cannot be opened for appending; the old one is written on.
        """
        self._open(0.0)

    def _open(self, patience: float) -> None:
        if self._path is None:
            return
        opened: BinaryIO = sys.stdout.buffer
        if self._path != "-":
            opened = _opened(self._path, patience, private=self._private)
        self.close()
        self._file, self._pipe = opened, _pipe_of(opened)

    def rotate(self) -> None:
        """Open the file again, or say why not and go on with the old one."""
        try:
            self.reopen()
        except OSError as error:
            log.error("the %s log %s cannot be opened again: %s", self.name, self._path, error)  # noqa: TRY400  # the error says it all

    def write(self, exchange: Exchange, seconds: float, line_of: LineOf | None = None) -> None:
        """Note one request, in its own way or in this one."""
        if self._file is None:
            self._write_late(exchange, seconds, line_of)
            return
        try:
            line = (line_of or self._line_of)(exchange, seconds)
        except Exception as error:  # whatever a line trips over must not fail the request
            self._lose(1, type(error).__name__)
            return
        if line is None:
            return
        if self._filled + len(line) > BATCH_BYTES:
            self.flush()
        end = self._filled + len(line)
        self._buffer[self._filled : end] = line  # it grows for a line that is longer than all of it
        self._filled = end

    def _write_late(self, exchange: Exchange, seconds: float, line_of: LineOf | None) -> None:
        """A request that outlived its log (several reloads ago): nobody would flush its line, so the file is opened for it."""
        if self._path is None:
            return
        try:
            self.reopen()
        except OSError as error:
            self._lose(1, error.strerror or str(error))
            return
        self.write(exchange, seconds, line_of)
        self.close(0.0)

    def flush(self) -> None:
        """Write what was collected."""
        if self._file is None or not (self._filled or self._waiting):
            return
        with memoryview(self._buffer) as buffer, buffer[: self._filled] as lines:
            self._filled = 0
            try:
                if self._pipe is None:
                    self._write_file(self._file, lines)
                else:
                    self._write_pipe(self._file, self._pipe, bytes(lines))
            except (OSError, ValueError) as error:
                lost = self._waiting if self._pipe is not None else [bytes(lines)]
                count = sum(piece.count(b"\n") for piece in lost)
                self._waiting.clear()
                self._lose(count, getattr(error, "strerror", None) or type(error).__name__)

    def _write_file(self, file: BinaryIO, lines: bytes | memoryview) -> None:
        """Write all. A disk that was full may have taken a part of a line, of ours or of another worker's: the next one
        must not be spoilt by it.
        """
        if self._torn or _ends_within_a_line(file):
            lines = b"\n" + lines
        self._torn = True
        _write_all(file, lines)
        self._torn = False

    def _write_pipe(self, file: BinaryIO, pipe: int, lines: bytes) -> None:
        """Write as much as there is room for. A reader that stops reading must not stop the proxy: the rest waits, and
        what is more than `WAITING_MOST` is lost.
        """
        waiting = self._waiting
        waiting += _pieces(lines)
        with _locked(pipe):
            while waiting and _has_room(pipe, len(waiting[0])):
                _write_all(file, waiting[0])
                del waiting[0]
        if waiting and self._again is None:
            with suppress(RuntimeError):  # no loop runs: whoever closes the log writes the rest
                self._again = asyncio.get_running_loop().call_later(AGAIN, self._try_again)
        size = sum(map(len, waiting))
        while size > WAITING_MOST:
            lost = waiting.pop(0)
            size -= len(lost)
            self._lose(lost.count(b"\n"), "nobody reads them")

    def _try_again(self) -> None:
        self._again = None
        self.flush()

    def _lose(self, lines: int, why: str) -> None:
        """Count, and say so once: a log that is silently incomplete is found out too late."""
        self.lost += lines
        now = time.monotonic()
        if now - self._warned > WARN_EVERY:
            self._warned = now
            log.warning(
                "lines of the %s log %s are being lost (%d so far): %s",
                self.name,
                self._path,
                self.lost,
                why.lower(),
            )

    def close(self, patience: float = LAST_PATIENCE) -> None:
        """Write the rest, for which a slow reader is given so many seconds, and let go of the file."""
        end = time.monotonic() + patience
        self.flush()
        while self._waiting and self._pipe is not None and time.monotonic() < end:
            time.sleep(AGAIN)
            self.flush()
        if self._waiting:
            self._lose(sum(piece.count(b"\n") for piece in self._waiting), "nobody reads them")
            self._waiting.clear()
        if self._file is not None and self._path != "-":
            self._file.close()
        self._file = None


def _ends_within_a_line(file: BinaryIO) -> bool:
    """Is there a part of a line at the end of this file? False also where it cannot be looked at, and of what is no file."""
    try:
        descriptor = file.fileno()
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or not about.st_size:
            return False
        # It was opened for appending alone: reading may be forbidden, and a pipe must not have us as its reader.
        look = os.open(f"/proc/self/fd/{descriptor}", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.pread(look, 1, about.st_size - 1) != b"\n"
        finally:
            os.close(look)
    except (AttributeError, OSError, ValueError):
        return False


def _opened(path: str, patience: float, *, private: bool) -> BinaryIO:
    """The file, for appending; whoever shall read a pipe has so many seconds to begin."""
    end, opener = time.monotonic() + patience, _private if private else _without_waiting
    while True:
        try:
            return open(path, "ab", buffering=0, opener=opener)
        except OSError as error:
            if error.errno != errno.ENXIO or time.monotonic() >= end:
                raise
        time.sleep(AGAIN)


def _without_waiting(path: str, flags: int, mode: int = 0o666) -> int:
    """Open it, or raise where it is a pipe that nobody reads (fifo(7)): a worker that rotates its log goes on serving."""
    try:
        opened = os.open(path, flags | os.O_NONBLOCK, mode)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "nobody reads it", path) from None
        raise
    os.set_blocking(opened, True)
    return opened


def _private(path: str, flags: int) -> int:
    """Open it for its owner alone; a file that was there and is ours is made so, a pipe or a device is left as it is."""
    opened = _without_waiting(path, flags, 0o600)
    mode = os.fstat(opened).st_mode
    if stat.S_ISREG(mode) and stat.S_IMODE(mode) & 0o077:
        with suppress(OSError):  # somebody else's: its mode is theirs to choose
            os.fchmod(opened, 0o600)
    return opened


def _write_all(file: BinaryIO, data: bytes | memoryview) -> None:
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


def _pieces(lines: bytes) -> Iterator[bytes]:
    """Whole lines, as many as the kernel keeps together."""
    begin = 0
    while begin < len(lines):
        end = lines.rfind(b"\n", begin, begin + select.PIPE_BUF) + 1
        end = end or lines.index(b"\n", begin) + 1
        yield lines[begin:end]
        begin = end


@contextmanager
def _locked(descriptor: int) -> Iterator[None]:
    """The other workers wait: a line may be longer than what the kernel keeps together."""
    fcntl.lockf(descriptor, fcntl.LOCK_EX)
    try:
        yield
    finally:
        fcntl.lockf(descriptor, fcntl.LOCK_UN)
