"""The head of an answer, and the only import of httptools.

httptools reads heads and nothing more: it is given the bytes up to the blank line, by a fresh parser each time, so that it
can never take the next answer for this one's body. Where the body ends is decided here, from fields read strictly.
Each refusal depends on the bytes alone, never on how the network split them.
"""

import re
from typing import NoReturn

import httptools

from authproxy.model.errors import Refusal

VERSIONS = ("1.1", "1.0")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i:timeout)=(\d{1,6})")
LENGTH_DIGITS = 18  # below 2**63, and below what `int` refuses to read


def invalid(reason: str) -> NoReturn:
    """Refuse the answer: its bytes are not beyond doubt."""
    raise Refusal("upstream_invalid", reason)


class AnswerHead:
    """The head of one answer; `headers` in order as sent, without the white space around their values.

    `length` is what Content-Length declares (bytes), which for HEAD and 304 is not what follows; `keep_alive` says that
    the connection may carry another exchange (`closing` that it was told to end); `keep_alive_timeout` (seconds) is how long the backend said it will wait for it.
    """

    __slots__ = (
        "chunked",
        "closing",
        "has_body",
        "headers",
        "keep_alive",
        "keep_alive_timeout",
        "length",
        "reason",
        "status",
        "version",
    )

    def __init__(
        self, status: int, reason: bytes, version: str, headers: list[tuple[bytes, bytes]]
    ) -> None:
        self.status = status
        self.reason = reason
        self.version = version
        self.headers = headers
        self.length: int | None = None
        self.chunked = False
        self.closing = False
        self.has_body = True
        self.keep_alive = version == "1.1"  # RFC 9112 section 9.3
        self.keep_alive_timeout: float | None = None

    def __repr__(self) -> str:
        return f"<AnswerHead {self.status} length={self.length} chunked={self.chunked}>"


class Fields:
    """What httptools calls while it reads a head."""

    __slots__ = ("headers", "reason")

    # Looked up by httptools at every parser; None is quicker than missing.
    on_message_begin = on_headers_complete = on_body = on_message_complete = None
    on_chunk_header = on_chunk_complete = None

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self.reason = b""

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers.append(
            (name, value.rstrip(b" \t"))
        )  # OWS is no part of it, RFC 9112 section 5


class HeadParser:
    """Reads one head from the pieces it is fed.

    Args:
        most_bytes: the bound on the head, its status line and blank line included.
        most_fields: the bound on the number of its fields.
    """

    __slots__ = ("_fields", "_left", "_most_fields", "_parser", "_tail")

    def __init__(self, most_bytes: int, most_fields: int) -> None:
        self._fields = Fields()
        self._parser = httptools.HttpResponseParser(self._fields)
        self._left = most_bytes
        self._most_fields = most_fields
        self._tail = b""

    def feed(self, data: bytes) -> int:
        """How many bytes of `data` the head took to its end, or 0 when it goes on after them.

        Raises:
            Refusal: `upstream_invalid` as soon as the bytes can no longer become a head.
        """
        tail = self._tail
        if not tail and not data.startswith(b"H"):
            invalid("head")  # httptools skips empty lines here, and an answer begins with none
        # httptools takes no bare LF in a head, so that this is the only place where one can end.
        found = (tail + data if tail else data).find(b"\r\n\r\n")
        end = found + 4 - len(tail) if found >= 0 else 0
        taken = end or len(data)
        self._parse(
            data[: min(taken, self._left)]
        )  # first what fits: a fault in it is the one to name
        self._left -= taken
        if self._left < 0:
            invalid("head_size")
        if not end:
            self._tail = (tail + data)[-3:]
        return end

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # a 101: raised at its end, and after the end nothing is fed
        except httptools.HttpParserError:
            invalid("head")

    def answer(self, *, to_head: bool) -> AnswerHead:
        """The head that `feed` saw the end of; `to_head` says that it answers a HEAD.

        Raises:
            Refusal: `upstream_invalid` with what is wrong about it.
        """
        fields, parser = self._fields, self._parser
        status, version = parser.get_status_code(), parser.get_http_version()
        if version not in VERSIONS:
            invalid("version")
        if not 100 <= status <= 599:
            invalid("status")
        reason = fields.reason
        if not reason.isalnum() and CONTROL.search(
            reason
        ):  # httptools lets them pass: CVE-2026-34519
            invalid("reason")
        if len(fields.headers) > self._most_fields:
            invalid("head_fields")
        head = AnswerHead(status, reason, version, fields.headers)
        read_framing(head)
        end_body(head, to_head=to_head)
        return head


def read_framing(head: AnswerHead) -> None:
    """Set what the head's own fields say of its body and of its connection."""
    for name, value in head.headers:
        read = FRAMING.get(name.lower())
        if read is not None:
            read(head, value)
    if head.chunked and head.length is not None:  # RFC 9112 section 6.3, smuggling
        invalid("framing")


def read_length(head: AnswerHead, value: bytes) -> None:
    """Content-Length, RFC 9110 section 8.6: once, and digits only."""
    if head.length is not None or not value.isdigit() or len(value) > LENGTH_DIGITS:
        invalid("content_length")
    head.length = int(value)


def read_coding(head: AnswerHead, value: bytes) -> None:
    """Transfer-Encoding, RFC 9112 section 6.1: `chunked` once and nothing else; HTTP/1.0 has none."""
    if head.chunked or head.version == "1.0" or value.lower() != b"chunked":
        invalid("transfer_encoding")
    head.chunked = True


def read_connection(head: AnswerHead, value: bytes) -> None:
    """Connection, RFC 9112 section 9.3; of several, `close` is the one that counts."""
    options = [option.strip(b" \t") for option in value.lower().split(b",")]
    head.closing = head.closing or b"close" in options
    head.keep_alive = not head.closing and (head.keep_alive or b"keep-alive" in options)


def read_keep_alive(head: AnswerHead, value: bytes) -> None:
    """Keep-Alive, RFC 2068 section 19.7.1: Node and Apache name the moment when they will close."""
    found = KEEP_ALIVE_TIMEOUT.search(value)
    if found is not None and head.keep_alive_timeout is None:
        head.keep_alive_timeout = float(found[1])


FRAMING = {
    b"content-length": read_length,
    b"transfer-encoding": read_coding,
    b"connection": read_connection,
    b"keep-alive": read_keep_alive,
}


def end_body(head: AnswerHead, *, to_head: bool) -> None:
    """Decide whether a body follows: RFC 9112 section 6.3, and the only place that does."""
    status = head.status
    if status < 200 or status == 204:
        if (
            head.chunked or head.length
        ):  # it must not say so, RFC 9110 section 8.6; is it in our answer or the next?
            invalid("body_forbidden")
        head.has_body = False
        head.keep_alive = head.keep_alive and status != 101
    elif to_head or status == 304:
        head.has_body = False
    elif head.length is None and not head.chunked:
        head.keep_alive = False  # the end of the connection is the end of the body
