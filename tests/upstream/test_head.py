"""A head is beyond doubt or refused; and what httptools, the reader of half the field, makes of the same bytes."""

import contextlib
import time
from collections.abc import Iterable
from typing import Any

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.upstream.head import AnswerHead, read_head
from authproxy.upstream.message import Message
from tests.upstream.backends import OK, cut

OK_1_0 = b"HTTP/1.0 200 OK\r\n"
MOST = 65536


def parse(block: bytes, *, to_head: bool = False, most_fields: int = 256) -> AnswerHead:
    return read_head(block, block.index(b"\r\n\r\n"), most_fields, to_head=to_head)


def fed(pieces: Iterable[bytes], *, most_bytes: int = MOST, to_head: bool = False) -> Message:
    """A message that was fed the pieces."""
    message = Message(to_head=to_head, most_bytes=most_bytes, most_fields=4)
    for piece in pieces:
        message.feed(piece)
    return message


def parse_pieces(data: bytes, at: list[int]) -> str:
    """What comes of it, as text that can be compared."""
    try:
        head = fed(cut(data, at), most_bytes=200).head
    except Refusal as refusal:
        return f"{refusal.code} {refusal.reason}"
    return f"{head!r} {head.version} {head.reason!r} {head.headers}" if head else "more"


class Events:
    """Everything that httptools says of an answer."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_message_begin(self) -> None:
        self.seen.append("begin")

    def on_header(self, name: bytes, value: bytes) -> None:
        self.seen.append((name, value))

    def on_body(self, data: bytes) -> None:
        self.seen.append(data)

    def on_message_complete(self) -> None:
        self.seen.append("complete")


def seen_by_httptools(data: bytes) -> list[Any]:
    events = Events()
    httptools.HttpResponseParser(events).feed_data(data)
    return events.seen


def test_a_head_as_sent() -> None:
    """Status, reason, version and fields arrive as sent, in order, with the white space around values gone."""
    head = parse(b"HTTP/1.1 404 Not  Found\r\nB: 2\r\na: \t1 \t\r\nB: 3\r\nEmpty:\r\n\r\n")
    assert (head.status, head.reason, head.version) == (404, b"Not  Found", "1.1")
    assert head.headers == [(b"B", b"2"), (b"a", b"1"), (b"B", b"3"), (b"Empty", b"")]


@pytest.mark.parametrize("line", [b"HTTP/1.1 200\r\n", b"HTTP/1.1 200 \r\n"])
def test_no_reason_is_a_reason(line: bytes) -> None:
    """A status line without a reason is fine."""
    assert parse(line + b"\r\n").reason == b""


def test_bytes_over_127_pass() -> None:
    """obs-text in values and reasons passes as it is (RFC 9110 section 5.5)."""
    head = parse(b"HTTP/1.1 200 \xc3\xa9\r\nA: \xff\r\n\r\n")
    assert (head.reason, head.headers) == (b"\xc3\xa9", [(b"A", b"\xff")])


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        (b"HTTP/1.1 200 OK\nA: b\n\r\n\r\n", "head"),
        (OK + b"A: b\nB: c\r\n\r\n", "head"),
        (OK + b"A: b\rB: c\r\n\r\n", "head"),
        (OK + b"A: b\x00c\r\n\r\n", "head"),
        (OK + b"A: b\x01c\r\n\r\n", "head"),
        (OK + b"A: b\x0bc\r\n\r\n", "head"),
        (OK + b"A: b\x7fc\r\n\r\n", "head"),
        (OK + b"A: b\r\n c\r\n\r\n", "head"),
        (OK + b" A: b\r\n\r\n", "head"),
        (OK + b"A : b\r\n\r\n", "head"),
        (OK + b": b\r\n\r\n", "head"),
        (OK + b"A\r\n\r\n", "head"),
        (OK + b"A(: b\r\n\r\n", "head"),
        (b"HTTP/1.1 200 OK\rX: y\r\n\r\n", "head"),
        (b"HTTP/1.1 200 O\x00K\r\n\r\n", "reason"),
        (b"HTTP/1.1 200 O\x1bK\r\n\r\n", "reason"),
        (b"HTTP/1.1 200 O\x7fK\r\n\r\n", "reason"),
        (b"\r\nHTTP/1.1 200 OK\r\n\r\n", "head"),
        (b"http/1.1 200 OK\r\n\r\n", "head"),
        (b"SSH-2.0-OpenSSH_9.6\r\n\r\n", "head"),
        (b"HTTP/2.0 200 OK\r\n\r\n", "version"),
        (b"HTTP/0.9 200 OK\r\n\r\n", "version"),
        (b"HTTP/1.2 200 OK\r\n\r\n", "version"),
        (b"HTTP/1.1 099 OK\r\n\r\n", "status"),
        (b"HTTP/1.1 600 OK\r\n\r\n", "status"),
        (b"HTTP/1.1 1000 OK\r\n\r\n", "head"),
        (b"HTTP/1.1 20 OK\r\n\r\n", "head"),
        (b"HTTP/1.1  200 OK\r\n\r\n", "head"),
    ],
)
def test_what_is_no_head_is_refused(block: bytes, reason: str) -> None:
    """Bare line ends, control bytes, folding, other versions and statuses are never passed on (CVE-2026-34519)."""
    with pytest.raises(Refusal) as refused:
        parse(block)
    assert (refused.value.code, refused.value.reason) == ("upstream_invalid", reason)


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nContent-Length: 3\r\n",
        b"Content-Length: 2\r\ncontent-length: 2\r\n",
        b"Content-Length: 2, 2\r\n",
        b"Content-Length: +2\r\n",
        b"Content-Length: -2\r\n",
        b"Content-Length: 0x2\r\n",
        b"Content-Length: 1 2\r\n",
        b"Content-Length:\r\n",
        b"Content-Length: 99999999999999999999999\r\n",
        b"Content-Length: " + b"0" * 5000 + b"5\r\n",
        b"Transfer-Encoding: gzip\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked, chunked\r\n",
        b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"Transfer-Encoding: identity\r\n",
        b"Transfer-Encoding:\r\n",
        b"Transfer-Encoding: \x0bchunked\r\n",
    ],
)
@pytest.mark.parametrize("to_head", [False, True])
def test_doubtful_framing_is_refused(fields: bytes, to_head: bool) -> None:
    """Where two readers could see different ends of the body there is no answer, also not to HEAD."""
    with pytest.raises(Refusal):
        parse(OK + fields + b"\r\n", to_head=to_head)


@pytest.mark.parametrize("coding", [b"chunked", b"Chunked", b" CHUNKED \t"])
def test_chunked_is_the_only_coding(coding: bytes) -> None:
    """`chunked` in any case is read."""
    head = parse(OK + b"Transfer-Encoding:" + coding + b"\r\n\r\n")
    assert (head.chunked, head.length, head.keep_alive) == (True, None, True)


def test_trap_chunked_on_http_1_0_is_accepted() -> None:
    """Alone, httptools reads chunks in HTTP/1.0, which nobody there sends: refused (RFC 9112 section 6.1)."""
    block = OK_1_0 + b"Transfer-Encoding: chunked\r\n\r\n"
    assert seen_by_httptools(block + b"1\r\na\r\n0\r\n\r\n")[-2:] == [b"a", "complete"]
    with pytest.raises(Refusal, match="transfer_encoding"):
        parse(block)


def test_trap_another_coding_is_read_until_close() -> None:
    """Alone, httptools takes what it does not know for a body up to the end of the connection: refused."""
    block = OK + b"Transfer-Encoding: gzip\r\n\r\n"
    assert seen_by_httptools(block + b"HTTP/1.1 200 OK")[-1] == b"HTTP/1.1 200 OK"
    with pytest.raises(Refusal, match="transfer_encoding"):
        parse(block)


def test_trap_head_would_eat_next_answer() -> None:
    """Alone, httptools does not know of HEAD and takes the next answer for its body: here it is surplus."""
    block = OK + b"Content-Length: 15\r\n\r\n"
    assert seen_by_httptools(block + b"HTTP/1.1 200 OK")[-2:] == [b"HTTP/1.1 200 OK", "complete"]
    message = Message(to_head=True, most_bytes=MOST, most_fields=4)
    assert message.feed(block + b"HTTP/1.1 200 OK"), "the next answer belongs to nobody"
    assert message.complete
    assert message.head is not None
    assert (message.head.has_body, message.head.length, message.take()) == (False, 15, b"")


def test_trap_trailers_arrive_through_on_header() -> None:
    """Alone, httptools hands trailers over like fields of the head: here the head is closed before the body begins."""
    block = OK + b"Transfer-Encoding: chunked\r\n\r\n"
    data = block + b"0\r\nSet-Cookie: evil\r\n\r\n"
    assert (b"Set-Cookie", b"evil") in seen_by_httptools(data)
    message = fed([data])
    assert message.complete
    assert message.head is not None
    assert message.head.headers == [(b"Transfer-Encoding", b"chunked")]


def test_trap_interim_answers_are_whole_messages() -> None:
    """Alone, httptools calls a 1xx complete and reads on: here they are told apart from the answer."""
    data = b"HTTP/1.1 100 Continue\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n"
    assert seen_by_httptools(data).count("complete") == 2
    seen: list[int] = []
    message = Message(
        to_head=False, most_bytes=MOST, most_fields=4, interim=lambda head: seen.append(head.status)
    )
    message.feed(data)
    assert message.head is not None
    assert (seen, message.head.status) == ([100], 200)


def test_trap_an_empty_line_before_the_answer_is_skipped() -> None:
    """Alone, httptools skips empty lines between answers: here whatever is there belongs to no answer."""
    assert seen_by_httptools(b"\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n")[-1] == "complete"
    with pytest.raises(Refusal):
        fed([b"\r\n\r\n" + OK])


@pytest.mark.parametrize("status", [100, 103, 204])
@pytest.mark.parametrize("field", [b"Content-Length: 5", b"Transfer-Encoding: chunked"])
def test_a_body_where_none_may_be_is_refused(status: int, field: bytes) -> None:
    """1xx and 204 that announce a body are refused: readers differ on whose bytes follow (RFC 9110 section 8.6)."""
    with pytest.raises(Refusal, match="body_forbidden"):
        parse(b"HTTP/1.1 %d X\r\n%s\r\n\r\n" % (status, field))


@pytest.mark.parametrize(
    ("status", "to_head", "has_body"),
    [
        (200, False, True),
        (200, True, False),
        (204, False, False),
        (304, False, False),
        (205, False, True),
    ],
)
def test_which_answers_have_a_body(status: int, to_head: bool, has_body: bool) -> None:
    """HEAD, 204 and 304 have none, whatever they announce."""
    length = b"0" if status == 204 else b"7"
    block = b"HTTP/1.1 %d X\r\nContent-Length: %s\r\n\r\n" % (status, length)
    head = parse(block, to_head=to_head)
    assert (head.has_body, head.length) == (has_body, int(length))


@pytest.mark.parametrize(
    ("block", "keep_alive"),
    [
        (OK + b"Content-Length: 0\r\n\r\n", True),
        (OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\nConnection: x, Close\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\nConnection: close\r\nConnection: keep-alive\r\n\r\n", False),
        (OK + b"Content-Length: 0\r\nConnection: x-close\r\n\r\n", True),
        (OK + b"\r\n", False),
        (OK_1_0 + b"Content-Length: 0\r\n\r\n", False),
        (OK_1_0 + b"Content-Length: 0\r\nConnection: Keep-Alive\r\n\r\n", True),
        (OK_1_0 + b"Content-Length: 0\r\nConnection: close, keep-alive\r\n\r\n", False),
    ],
)
def test_when_a_connection_may_be_used_again(block: bytes, keep_alive: bool) -> None:
    """`close`, HTTP/1.0 without `keep-alive` and a body without an end of its own forbid it."""
    assert parse(block).keep_alive is keep_alive


def test_what_the_backend_says_of_its_patience() -> None:
    """`Keep-Alive: timeout=N` is read, the first one that is there."""
    block = OK + b"Keep-Alive: max=9, Timeout=5\r\nKeep-Alive: timeout=900\r\n\r\n"
    assert parse(block).keep_alive_timeout == 5.0
    assert parse(OK + b"Keep-Alive: soon\r\n\r\n").keep_alive_timeout is None


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_head_over_the_bound_is_refused(size: int) -> None:
    """A head may have `most_bytes` bytes and not one more, however it arrives."""
    block = OK + b"A: " + b"b" * (96 - len(OK) - 3) + b"\r\n\r\n"
    assert fed(cut_every(block, size), most_bytes=100).head is not None
    with pytest.raises(Refusal, match="head_size"):
        fed(cut_every(block[:-4] + b"b\r\n\r\n", size), most_bytes=100)


def cut_every(data: bytes, size: int) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def test_a_head_without_an_end_is_refused() -> None:
    """A backend that goes on for ever is stopped at the bound."""
    fed([OK, *[b"A: b\r\n"] * 160], most_bytes=1000)
    with pytest.raises(Refusal, match="head_size"):
        fed([OK, *[b"A: b\r\n"] * 165], most_bytes=1000)


def test_a_line_without_a_colon_costs_no_more_than_its_length() -> None:
    """A name that never ends is looked at once, not once from each of its bytes."""
    block = OK + b"A" * 1_000_000 + b"\r\n\r\n"
    began = time.process_time()
    with pytest.raises(Refusal, match="head"):
        parse(block)
    assert time.process_time() - began < 1


def test_too_many_fields_are_refused() -> None:
    """A head may have `most_fields` fields."""
    assert len(parse(OK + b"A: b\r\n" * 4 + b"\r\n", most_fields=4).headers) == 4
    with pytest.raises(Refusal, match="head_fields"):
        parse(OK + b"A: b\r\n" * 5 + b"\r\n", most_fields=4)


FRAGMENTS = st.sampled_from(
    [
        OK,
        OK_1_0,
        b"HTTP/1.1 101 S\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n",
        b"HTTP/1.1 204 \r\n",
        b"Content-Length: 3\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"A: b\r\n",
        b"\r\n",
        b"\n",
        b" ",
        b"\r",
        b"\x00",
        b"A" * 150,
    ]
)
HEADS = st.lists(FRAGMENTS | st.binary(max_size=4), max_size=9).map(b"".join)


@given(data=HEADS, at=st.lists(st.integers(0, 2000), max_size=8))
@example(data=OK + b"A" * 200 + b"\r\n\r\n", at=list(range(300)))
def test_splitting_never_changes_a_head(data: bytes, at: list[int]) -> None:
    """However the network splits the bytes, the same head or the same refusal comes of them."""
    assert parse_pieces(data, at) == parse_pieces(data, [])
    assert parse_pieces(data, list(range(len(data)))) == parse_pieces(data, [])


@given(data=HEADS)
def test_nothing_is_read_that_httptools_reads_otherwise(data: bytes) -> None:
    """Every head that is accepted says the same to httptools: its status, reason and fields."""
    try:
        head = read_head(data, data.find(b"\r\n\r\n"), 256, to_head=True)
    except Refusal:
        return
    events = Events()
    parser = httptools.HttpResponseParser(events)
    with contextlib.suppress(httptools.HttpParserUpgrade):
        parser.feed_data(data[: data.find(b"\r\n\r\n") + 4])
    fields = [
        (name, value.rstrip(b" \t"))
        for name, value in (e for e in events.seen if isinstance(e, tuple))
    ]
    assert (parser.get_status_code(), fields) == (head.status, head.headers)
