"""The head of an answer: RFC 9112 sections 4 and 5, read strictly, and where its body ends (section 6.3).

Two regular expressions are the grammar. What they do not take is refused, never repaired: another reader might
understand it differently. Tests hold this to httptools' reading.
"""

import re
from typing import NoReturn

from authproxy.model.errors import Refusal

VERSIONS = {b"1.1": "1.1", b"1.0": "1.0"}
STATUS_LINE = re.compile(rb"HTTP/([0-9]\.[0-9]) ([0-9]{3})(?: ([^\r\n]*))?\r\n")
# RFC 9110 sections 5.1 and 5.5: a token, a colon directly behind it, and no control byte but the tab; no folding.
# It begins where a line ends, so that a name without a colon is not looked at from each of its bytes.
FIELD = re.compile(rb"(?<=\n)([!#$%&'*+.^_`|~0-9A-Za-z-]+):([\t\x20-\x7e\x80-\xff]*)\r\n")
CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
KEEP_ALIVE_TIMEOUT = re.compile(rb"(?i:timeout)=(\d{1,6})")
REPEATED_MOST = 2048  # bytes of a head that a connection remembers
LENGTH_DIGITS = 18  # below 2**63, and below what `int` refuses to read


def invalid(reason: str) -> NoReturn:
    """Refuse the answer: its bytes are not beyond doubt."""
    raise Refusal("upstream_invalid", reason)


class AnswerHead:
    """The head of one answer; `headers` in order as sent, without the white space around their values.

    `length` is what Content-Length declares (bytes), which for HEAD and 304 is not what follows; `keep_alive` says that
    the connection may carry another exchange (`closing` that it was told to end); `keep_alive_timeout` (seconds) is how
    long the backend said it will wait for it. Nothing of it changes once it is read: the same bytes (`raw`; empty where
    they are too many to be kept) are the same head. `memo` is what somebody worked out from it, after what else that
    depends on.
    """

    __slots__ = (
        "chunked",
        "closing",
        "has_body",
        "headers",
        "keep_alive",
        "keep_alive_timeout",
        "length",
        "memo",
        "raw",
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
        self.raw = b""
        self.memo: tuple[object, bytes] | None = None

    def __repr__(self) -> str:
        return f"<AnswerHead {self.status} length={self.length} chunked={self.chunked}>"


def read_head(data: bytes, end: int, most_fields: int, *, to_head: bool) -> AnswerHead:
    """The head that is `data` up to `end`, where its empty line begins; `to_head` says that it answers a HEAD.

    Raises:
        Refusal: `upstream_invalid` with what is wrong about it.
    """
    line = STATUS_LINE.match(data, 0, end + 2)
    if line is None:
        invalid("head")
    version, status, reason = VERSIONS.get(line[1]), int(line[2]), line[3] or b""
    if version is None:
        invalid("version")
    if not 100 <= status <= 599:
        invalid("status")
    if not reason.isalnum() and CONTROL.search(reason):  # CVE-2026-34519
        invalid("reason")
    begin = line.end()
    headers = FIELD.findall(data, begin, end + 2)
    # What is no field is passed over by `findall`: then the fields are not the whole.
    if sum([len(name) + len(value) + 3 for name, value in headers]) != end + 2 - begin:
        invalid("head")
    if len(headers) > most_fields:
        invalid("head_fields")
    # OWS is no part of a value, RFC 9112 section 5.
    head = AnswerHead(
        status, reason, version, [(name, value.strip(b" \t")) for name, value in headers]
    )
    read_framing(head)
    end_body(head, to_head=to_head)
    if end <= REPEATED_MOST and not to_head:
        head.raw = data[: end + 4]
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
