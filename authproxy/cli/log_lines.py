"""Reads logs line by line, as they are found: plain or gzip, from files or standard input, with a bar on a terminal.

A line is bounded, and so is what is kept of those that cannot be read: they are counted, the first are named.
"""

import gzip
import io
import os
import sys
import time
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import orjson

from authproxy.policy.recorded import DamagedRecordError, Recorded, replayed

LINE_MOST = 256 << 10
NAMED_MOST = 20
GZIP = b"\x1f\x8b"  # RFC 1952 section 2.3.1
DRAW_EVERY = 0.2  # seconds
LOOK_EVERY = 1000  # lines


@dataclass(slots=True)
class Damaged:
    """Lines that are no records: how many, and where the first are."""

    count: int = 0
    places: list[tuple[str, int, str]] = field(default_factory=list)

    def note(self, name: str, number: int, what: str) -> None:
        """One more."""
        self.count += 1
        if len(self.places) < NAMED_MOST:
            self.places.append((name, number, what))


@dataclass(slots=True)
class Reader:
    """Reads these logs (`-` is standard input). `lines` are all that were there, `about_nothing` those of no target."""

    logs: Sequence[str]
    lines: int = 0
    about_nothing: int = 0
    damaged: Damaged = field(default_factory=Damaged)

    def records(self) -> Iterator[Recorded]:
        """Every record, in order.

        Raises:
            OSError: a log cannot be read.
        """
        for name in self.logs:
            bar = Bar()
            with _opened(name) as raw:
                yield from self._records(name, raw, bar)
            bar.done()

    def _records(self, name: str, raw: io.BufferedReader, bar: "Bar") -> Iterator[Recorded]:
        size, number = _size(raw), 0
        try:
            for number, line in enumerate(_lines(raw), 1):
                self.lines += 1
                if not number % LOOK_EVERY:
                    bar.draw(raw.tell() if size else 0, size, self.lines)
                found = self._read(name, number, line)
                if found is not None:
                    yield found
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self.damaged.note(name, number + 1, "the compressed data ends or is damaged here")

    def _read(self, name: str, number: int, line: bytes) -> Recorded | None:
        try:
            found = replayed(_json(line))
        except DamagedRecordError as error:
            self.damaged.note(name, number, str(error))
            return None
        self.about_nothing += found is None
        return found


def _json(line: bytes) -> object:
    if len(line) > LINE_MOST:
        raise DamagedRecordError("longer than any line of ours")
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        kind = (
            "no JSON" if line.lstrip()[:1] == b"{" else "no JSON (only `format: json` can be read)"
        )
        raise DamagedRecordError(kind) from None


def _opened(name: str) -> io.BufferedReader:
    if name == "-":
        return os.fdopen(sys.stdin.fileno(), "rb", closefd=False)
    return Path(name).open("rb")


def _size(raw: io.BufferedReader) -> int:
    """In bytes; 0 where nobody knows."""
    return os.fstat(raw.fileno()).st_size if raw.seekable() else 0


def _lines(raw: io.BufferedReader) -> Iterator[bytes]:
    """Lines as they are, but no longer than one that is too long; the rest of such a one is passed over."""
    # Not another buffer around it: that would lose what came before the place where the data is damaged.
    file = gzip.GzipFile(fileobj=raw) if raw.peek(2)[:2] == GZIP else raw
    while line := file.readline(LINE_MOST + 1):
        rest = line
        while len(rest) > LINE_MOST and not rest.endswith(b"\n"):
            rest = file.readline(LINE_MOST + 1)
        yield line


class Bar:
    """How far a log has been read, on stderr, where that is a terminal."""

    WIDTH = 30

    def __init__(self) -> None:
        self._shown = sys.stderr.isatty()
        self._drawn = time.monotonic()
        self._any = False

    def draw(self, at: int, size: int, lines: int) -> None:
        """Draw it anew, a few times a second."""
        now = time.monotonic()
        if not self._shown or now - self._drawn < DRAW_EVERY:
            return
        self._drawn, self._any = now, True
        share = min(at / size, 1.0) if size else 0.0
        full = round(share * self.WIDTH)
        bar = f"[{'#' * full}{'.' * (self.WIDTH - full)}] {share:4.0%} " if size else ""
        sys.stderr.write(f"\r{bar}{lines:,} lines")
        sys.stderr.flush()

    def done(self) -> None:
        """Take it away."""
        if self._any:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
