"""One answer, from the first byte of its head to the last of its body.

Pure: bytes in, a head and content out; no transport, no clock. This is where a message ends, whatever the backend would
like: what `feed` calls surplus belongs to no answer, and the connection that carried it is dropped.
"""

import enum
from collections.abc import Callable

from authproxy.upstream.chunked import Chunked
from authproxy.upstream.head import AnswerHead, invalid, read_head

INTERIMS = 16  # 1xx answers in one exchange
HEAD_BEGIN, HEAD_END = b"HTTP/", b"\r\n\r\n"


class Phase(enum.Enum):
    """What the next bytes are."""

    HEAD = "head"
    LENGTH = "length"
    CHUNKED = "chunked"
    UNTIL_END = "until end"  # of the connection, which is the body's
    RAW = "raw"  # after a 101
    DONE = "done"


# As plain names: an attribute of an enum costs more than the comparison.
HEAD, LENGTH, CHUNKED, UNTIL_END, RAW, DONE = Phase


class Message:
    """The answer to one request.

    Args:
        to_head: it answers a HEAD.
        most_bytes: the bound on each head, and on the trailers.
        most_fields: the bound on the number of a head's fields.
        interim: is given the head of each 1xx other than 101.
        before: the head of the answer before this one; where this one begins with the same bytes, it is not read again.

    `head` is the final head or that of a 101; `pieces` the content not yet taken, `held` its size in bytes;
    `complete`: nothing more can come; `heard`: at least one byte came.
    """

    __slots__ = (
        "_before",
        "_begun",
        "_chunked",
        "_interim",
        "_left",
        "_most_bytes",
        "_most_fields",
        "_phase",
        "_to_head",
        "complete",
        "head",
        "heard",
        "held",
        "interims",
        "pieces",
    )

    def __init__(
        self,
        *,
        to_head: bool,
        most_bytes: int,
        most_fields: int,
        interim: Callable[[AnswerHead], None] | None = None,
        before: AnswerHead | None = None,
    ) -> None:
        self._before = before
        self._to_head = to_head
        self._most_bytes = most_bytes
        self._most_fields = most_fields
        self._interim = interim
        self._begun = b""  # a head whose end has not come
        self._phase = HEAD
        self._left = 0
        self.complete = False
        self.head: AnswerHead | None = None
        self.heard = False
        self.interims = 0
        self.pieces: list[bytes] = []
        self.held = 0

    def let_go(self) -> None:
        """Nothing more will come: the connection, which is told of interim answers, is not held any longer."""
        self._interim = None

    def feed(self, data: bytes) -> bool:
        """Read the next bytes; True when there are more than the message has.

        Raises:
            Refusal: `upstream_invalid`; content before the fault is in `pieces`.
        """
        if self._phase is HEAD:
            before = self._before
            if before is not None and not self.heard and data.startswith(before.raw):
                self._start_body(before)
                data = data[len(before.raw) :]
            else:
                data = self._feed_head(data)
            self.heard = True
        if not data:
            return False
        phase = self._phase
        if phase is LENGTH:
            return self._feed_length(data)
        if phase is CHUNKED:
            return self._feed_chunks(data)
        if phase is DONE:
            return True
        self._hold(data)
        return False

    def end(self, *, clean: bool) -> None:
        """The connection ended; `clean` when the backend said so.

        Raises:
            Refusal: `upstream_invalid`, reason `truncated`: not here.
        """
        if self._phase is RAW or (self._phase is UNTIL_END and clean):
            self._finish()
        elif self._phase is not DONE:
            invalid("truncated")

    def take(self) -> bytes:
        """All content that is here, which may be none."""
        pieces = self.pieces
        if not pieces:
            return b""
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        pieces.clear()
        self.held = 0
        return data

    @property
    def is_raw(self) -> bool:
        """A 101 was the last that this connection says in HTTP."""
        return self._phase is RAW

    @property
    def may_be_followed(self) -> bool:
        """Another exchange can use the connection: all has come and been taken, and the head allows it."""
        return self.complete and not self.pieces and self.head is not None and self.head.keep_alive

    def _feed_head(self, data: bytes) -> bytes:
        """Read heads up to the final one; what follows it."""
        while data and self._phase is HEAD:
            if self._begun:
                data, self._begun = self._begun + data, b""
            end = data.find(HEAD_END)
            if not (0 <= end <= self._most_bytes - len(HEAD_END)):
                self._begin(data)
                return b""
            head = read_head(data, end, self._most_fields, to_head=self._to_head)
            data = data[end + len(HEAD_END) :]
            if head.status < 200 and head.status != 101:
                self._pass_interim(head)
            else:
                self._start_body(head)
        return data

    def _begin(self, data: bytes) -> None:
        """The head goes on; what it began with must be a head, and not too much of one."""
        if not data.startswith(HEAD_BEGIN[: len(data)]):
            invalid("head")
        if len(data) > self._most_bytes:
            invalid("head_size")
        self._begun = data

    def _pass_interim(self, head: AnswerHead) -> None:
        self.interims += 1
        if self.interims > INTERIMS:  # else a backend could answer for ever without an answer
            invalid("interim")
        if self._interim is not None:
            self._interim(head)

    def _start_body(self, head: AnswerHead) -> None:
        self.head = head
        if head.status == 101:
            self._phase = RAW
        elif not head.has_body or head.length == 0:
            self._finish()
        elif head.length is not None:
            self._phase, self._left = LENGTH, head.length
        elif head.chunked:
            self._phase, self._chunked = CHUNKED, Chunked(self._most_bytes)
        else:
            self._phase = UNTIL_END

    def _feed_length(self, data: bytes) -> bool:
        self._left -= len(data)
        if self._left > 0:
            self._hold(data)
            return False
        surplus = self._left < 0
        self._hold(data[: self._left] if surplus else data)
        self._finish()
        return surplus

    def _feed_chunks(self, data: bytes) -> bool:
        content: list[bytes] = []
        try:
            end = self._chunked.feed(data, content)
        finally:
            if content:
                self._hold(b"".join(content))  # many small pieces cost more memory than their bytes
        if end:
            self._finish()
        return 0 < end < len(data)

    def _hold(self, data: bytes) -> None:
        self.pieces.append(data)
        self.held += len(data)

    def _finish(self) -> None:
        self.complete = True
        self._phase = DONE

    @classmethod
    def none(cls) -> "Message":
        """What a connection without an exchange expects: nothing, so that any byte is surplus."""
        message = cls(to_head=False, most_bytes=0, most_fields=0)
        message._finish()
        return message
