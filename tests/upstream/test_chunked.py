"""A chunked body ends where every reader sees its end, or it is refused."""

from typing import Any

import httptools
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.upstream.chunked import Chunked
from tests.upstream.backends import OK, cut

MOST = 64


def read(data: bytes, at: list[int] | None = None, most: int = MOST) -> tuple[bytes, int | str]:
    """The content, and where the body ended: an offset, `more`, or the reason of a refusal."""
    chunked, content, offset = Chunked(most), list[bytes](), 0
    try:
        for piece in cut(data, at or []):
            if end := chunked.feed(piece, content):
                return b"".join(content), offset + end
            offset += len(piece)
    except Refusal as refusal:
        return b"".join(content), refusal.reason
    return b"".join(content), "more"


@pytest.mark.parametrize(
    ("data", "content"),
    [
        (b"0\r\n\r\n", b""),
        (b"3\r\nabc\r\n0\r\n\r\n", b"abc"),
        (b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n", b"abc0123456789"),
        (b"003\r\nabc\r\n000\r\n\r\n", b"abc"),
        (b'3;a=b;c="d;e"\r\nabc\r\n0;last\r\n\r\n', b"abc"),
        (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
        (b"0\r\nA: b\r\nSet-Cookie: c\xff\r\n\r\n", b""),
    ],
)
def test_a_body_and_its_end(data: bytes, content: bytes) -> None:
    """Content comes without framing, extensions and trailers; what follows the end is not touched."""
    assert read(data + b"HTTP/1.1 ") == (content, len(data))
    assert read(data + b"\r\n", list(range(99))) == (content, len(data))


@pytest.mark.parametrize(
    "data",
    [
        b"3\nabc\r\n0\r\n\r\n",
        b"3\r\nabc\n0\r\n\r\n",
        b"3\r\nabcd\r\n0\r\n\r\n",
        b"3\r\nabcXX0\r\n\r\n",
        b"3;a\nb\r\nabc\r\n0\r\n\r\n",
        b"3;a\rb\r\nabc\r\n0\r\n\r\n",
        b"3;\x00\r\nabc\r\n0\r\n\r\n",
        b"3 \r\nabc\r\n0\r\n\r\n",
        b" 3\r\nabc\r\n0\r\n\r\n",
        b"+3\r\nabc\r\n0\r\n\r\n",
        b"-3\r\nabc\r\n0\r\n\r\n",
        b"0x3\r\nabc\r\n0\r\n\r\n",
        b"3_0\r\nabc\r\n",
        "\N{FULLWIDTH DIGIT THREE}\r\nabc\r\n0\r\n\r\n".encode(),
        b"\r\nabc",
        b"10000000000000000\r\nabc",
        b"0\r\n\n",
        b"0\r\nA\r\n\r\n",
        b"0\r\nA: b\nB: c\r\n\r\n",
        b"0\r\nA: \x00\r\n\r\n",
        b"0\r\n A: b\r\n\r\n",
    ],
)
def test_doubtful_chunks_are_refused(data: bytes) -> None:
    """Sizes, line ends and trailers that somebody reads differently are never guessed at."""
    assert read(data)[1] == "chunk"
    assert read(data, list(range(99)))[1] == "chunk"


@pytest.mark.parametrize(
    "data",
    [
        b"1;" + b"a" * MOST + b"\r\na\r\n0\r\n\r\n",
        b"0\r\n" + b"A: b\r\n" * 11 + b"\r\n",
        b"0" * MOST,
    ],
)
def test_extensions_and_trailers_are_bounded(data: bytes) -> None:
    """What is dropped cannot go on for ever either."""
    assert read(data) == read(data, list(range(len(data))))
    assert read(data + b"0")[1] == "chunk"


def test_the_bound_is_per_chunk() -> None:
    """A long body of small chunks is no long line."""
    assert read(b"1\r\na\r\n" * 1000 + b"0\r\n\r\n") == (b"a" * 1000, 6005)


def read_by_httptools(data: bytes) -> tuple[bytes, bool]:
    class Sink:
        body = b""
        complete = False

        def on_body(self, data: bytes) -> None:
            self.body += data

        def on_message_complete(self) -> None:
            self.complete = True

    sink = Sink()
    parser: Any = httptools.HttpResponseParser(sink)
    parser.feed_data(OK + b"Transfer-Encoding: chunked\r\n\r\n" + data)
    return sink.body, sink.complete


FRAMES = st.lists(
    st.one_of(
        st.binary(max_size=20).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data)),
        st.sampled_from([b"0\r\n\r\n", b"0\r\nA: b\r\n\r\n", b"1;x=y\r\na\r\n", b"2\r\n"]),
        st.sampled_from([b"\r\n", b"\n", b"0", b"f", b" "]),
    ),
    max_size=8,
).map(b"".join)


@given(data=FRAMES)
def test_nothing_is_read_that_httptools_reads_otherwise(data: bytes) -> None:
    """A body that is whole for us is whole for llhttp, with the same content."""
    content, end = read(data)
    if isinstance(end, int):
        assert read_by_httptools(data[:end]) == (content, True)


@given(data=FRAMES, at=st.lists(st.integers(0, 400), max_size=8))
def test_splitting_never_changes_a_body(data: bytes, at: list[int]) -> None:
    """However the network splits the bytes, the same content and the same end come of them."""
    assert read(data, at) == read(data)
    assert read(data, list(range(len(data)))) == read(data)
