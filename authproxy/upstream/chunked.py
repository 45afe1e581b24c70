"""Where a chunked body ends (RFC 9112 section 7.1).

Ours, because httptools cannot say at which byte a message ended, bounds neither extensions nor trailers, and hands trailers
over like fields of the head. No I/O, no clock. A differential test holds it to httptools' reading.
"""

import re

from authproxy.upstream.head import invalid

# A bare CR or LF, a sign, `0x`, white space around the size: each has been read differently by somebody.
SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:;[\t\x20-\x7e]*)?\r\n")
TRAILER = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+:[\t\x20-\x7e\x80-\xff]*\r\n")


class Chunked:
    """Reads one chunked body from the pieces it is fed. Extensions and trailers are checked, bounded and dropped.

    Args:
        most_bytes: the bound on a size line with its extensions, and on all trailers together.
    """

    __slots__ = ("_after_data", "_last", "_left", "_line", "_most_bytes", "_spent")

    def __init__(self, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._spent = 0  # of the bound, by the line under way and the trailers before it
        self._line = bytearray()  # a line whose end has not arrived
        self._left = 0  # of the chunk's data
        self._after_data = False  # the next line is the empty one after a chunk's data
        self._last = False  # the last chunk was seen: trailers follow

    def feed(self, data: bytes, content: list[bytes]) -> int:
        """Append what of `data` is content; how many bytes the body took to its end, or 0 when it goes on.

        Raises:
            Refusal: `upstream_invalid`, reason `chunk`.
        """
        at, size = 0, len(data)
        while at < size:
            if self._left:
                piece = data[at : at + self._left]
                content.append(piece)
                at += len(piece)
                self._left -= len(piece)
            else:
                end = data.find(b"\n", at) + 1 or size
                line, at = self._collect(data[at:end]), end
                if line and self._read(line):
                    return at
        return 0

    def _collect(self, piece: bytes) -> bytes:
        """The whole line that this piece ends, or nothing yet."""
        self._spent += len(piece)
        if self._spent > self._most_bytes:
            invalid("chunk")
        if not piece.endswith(b"\n"):
            self._line += piece
            return b""
        if self._line:
            piece = bytes(self._line) + piece
            self._line.clear()
        return piece

    def _read(self, line: bytes) -> bool:
        """Take one line; True at the end of the body."""
        if self._last:
            return self._read_trailer(line)
        if self._after_data:
            if line != b"\r\n":
                invalid("chunk")
            self._after_data = False
        else:
            self._read_size(line)
        self._spent = 0
        return False

    def _read_size(self, line: bytes) -> None:
        found = SIZE.fullmatch(line)
        if found is None:
            invalid("chunk")
        self._left = int(found[1], 16)
        self._last = not self._left
        self._after_data = not self._last

    @staticmethod
    def _read_trailer(line: bytes) -> bool:
        if line == b"\r\n":
            return True
        if TRAILER.fullmatch(line) is None:
            invalid("chunk")
        return False
