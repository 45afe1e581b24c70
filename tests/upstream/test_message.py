"""One answer ends where it ends: what follows is surplus, never content and never the next answer."""

import pytest

from authproxy.model.errors import Refusal
from authproxy.upstream.head import AnswerHead
from authproxy.upstream.message import INTERIMS, Message
from tests.upstream.backends import HELLO, OK

EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


def message(*, to_head: bool = False) -> Message:
    return Message(to_head=to_head, most_bytes=4096, most_fields=64)


@pytest.mark.parametrize(
    ("answer", "content"),
    [
        (HELLO, b"hello"),
        (OK + b"Content-Length: 0\r\n\r\n", b""),
        (CHUNKED + b"5\r\nhello\r\n0\r\nA: b\r\n\r\n", b"hello"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n", b""),
        (b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", b""),
    ],
)
def test_a_whole_message(answer: bytes, content: bytes) -> None:
    """The last byte completes it, and one byte more is surplus, in the same piece as in the next."""
    it = message()
    assert not it.feed(answer)
    assert it.complete
    assert it.feed(b"H")
    assert it.take() == content
    assert it.may_be_followed
    together = message()
    assert together.feed(answer + b"H")
    assert (together.complete, together.take()) == (True, content)


def test_trap_head_would_eat_next_answer() -> None:
    """An answer to HEAD is over at its head, whatever length it declares: httptools would wait for a body."""
    it = message(to_head=True)
    assert not it.feed(OK + b"Content-Length: 500\r\n\r\n")
    assert (it.complete, it.may_be_followed) == (True, True)
    assert it.feed(HELLO)


def test_trap_trailers_arrive_through_on_header() -> None:
    """A trailer never becomes a field of the head."""
    it = message()
    it.feed(CHUNKED + b"1\r\na\r\n0\r\nSet-Cookie: evil\r\n\r\n")
    assert it.head is not None
    assert it.head.headers == [(b"Transfer-Encoding", b"chunked")]


def test_trap_interim_answers_are_whole_messages() -> None:
    """A 1xx goes to its own hook and the final head is still to come."""
    interims: list[AnswerHead] = []
    it = Message(to_head=False, most_bytes=4096, most_fields=64, interim=interims.append)
    it.feed(EARLY_HINTS + b"HTTP/1.1 100 Continue\r\n\r\n")
    assert (it.head, it.complete) == (None, False)
    it.feed(HELLO)
    assert [head.status for head in interims] == [103, 100]
    assert it.head is not None
    assert it.head.status == 200


def test_interim_answers_are_bounded() -> None:
    """A backend cannot answer for ever without an answer."""
    it = message()
    it.feed(EARLY_HINTS * INTERIMS)
    with pytest.raises(Refusal, match="interim"):
        it.feed(EARLY_HINTS)


def test_raw_bytes_after_a_switch() -> None:
    """What follows a 101 is not read as HTTP, from the byte after its head."""
    it = message()
    assert not it.feed(SWITCH + b"\x81\x05he")
    it.feed(b"llo")
    assert (it.is_raw, it.complete, it.take()) == (True, False, b"\x81\x05hello")
    it.end(clean=False)
    assert (it.complete, it.may_be_followed) == (True, False)


def test_a_body_until_the_end() -> None:
    """A body without length ends with the connection, which is then of no more use."""
    it = message()
    it.feed(OK + b"\r\nhello")
    assert not it.complete
    it.end(clean=True)
    assert (it.complete, it.take(), it.may_be_followed) == (True, b"hello", False)


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"HTTP/1.1 200 OK\r\n",
        EARLY_HINTS,
        HELLO[:-1],
        CHUNKED + b"5\r\nhello\r\n",
        CHUNKED + b"5\r\nhello\r\n0\r\n",
    ],
)
def test_half_a_message_is_no_message(part: bytes) -> None:
    """A connection that ends in the middle truncates, however politely."""
    it = message()
    if part:
        it.feed(part)
    with pytest.raises(Refusal, match="truncated"):
        it.end(clean=True)


def test_a_reset_truncates_a_body_until_the_end() -> None:
    """Where only the end of the connection says that a body is whole, a reset does not say it."""
    it = message()
    it.feed(OK + b"\r\nhello")
    with pytest.raises(Refusal, match="truncated"):
        it.end(clean=False)


def test_content_before_a_fault_is_kept() -> None:
    """The bytes before a broken chunk are the body's."""
    it = message()
    with pytest.raises(Refusal, match="chunk"):
        it.feed(CHUNKED + b"5\r\nhello\r\nX\r\n")
    assert (it.take(), it.complete) == (b"hello", False)


def test_many_small_chunks_cost_their_bytes() -> None:
    """A thousand chunks that arrive together are held as one piece."""
    it = message()
    it.feed(CHUNKED + b"2\r\nab\r\n" * 1000)
    assert (len(it.pieces), it.held) == (1, 2000)


def test_nothing_expected() -> None:
    """Without an exchange any byte is surplus."""
    nothing = Message.none()
    assert nothing.feed(b"H")
    assert not nothing.may_be_followed


def test_a_head_that_came_before_is_the_same_head() -> None:
    """An answer that begins with the very bytes of the last head is read as it was; one byte more, and it is read anew."""
    before = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").head
    assert before is not None
    again = Message(to_head=False, most_bytes=1000, most_fields=10, before=before)
    assert not again.feed(before.raw + b"c")
    assert again.head is before
    assert not again.complete
    assert not again.feed(b"d")
    assert (again.complete, again.take()) == (True, b"cd")
    other = Message(to_head=False, most_bytes=1000, most_fields=10, before=before)
    assert not other.feed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: y\r\n\r\nef")
    assert other.head is not before
    assert other.take() == b"ef"


def test_what_follows_a_known_head_is_surplus_all_the_same() -> None:
    """More than the known head's length is still nobody's answer."""
    before = fed(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nab").head
    assert before is not None
    again = Message(to_head=False, most_bytes=1000, most_fields=10, before=before)
    assert again.feed(before.raw + b"abc")


def fed(data: bytes) -> Message:
    """A message that was fed these bytes."""
    message = Message(to_head=False, most_bytes=1000, most_fields=10)
    message.feed(data)
    return message
