"""Contract tests of how aiohttp says what it did not take, and the code that each becomes."""

import asyncio

import pytest
from aiohttp.http_exceptions import BadHttpMessage, BadStatusLine, LineTooLong
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web import Server
from aiohttp.web_protocol import RequestHandler

from authproxy.model.errors import Refusal
from authproxy.web.unparsed import error_info, refusal_of

LINE, FIELD, FIELDS = 100, 200, 3


def test_a_line_that_is_too_long_names_its_bound() -> None:
    """`LineTooLong.args[1]` is the bound that was hit: how a long target is told from a long field."""
    assert LineTooLong(b"x", 7).args[1] == 7


async def error_for(data: bytes) -> BaseException:
    """What aiohttp's parser raises on these bytes."""

    async def never(_request: object) -> None:
        raise AssertionError

    loop = asyncio.get_running_loop()
    protocol = RequestHandler(Server(never), loop=loop)  # type: ignore[arg-type]
    parser = HttpRequestParser(
        protocol, loop, 1 << 16, max_line_size=LINE, max_field_size=FIELD, max_headers=FIELDS
    )
    with pytest.raises(BadHttpMessage) as raised:
        parser.feed_data(data)
    return raised.value


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (b"GET /" + b"a" * LINE, "uri_too_long"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * (FIELD + 1), "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X" * (FIELD + 1), "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: 1\r\n" * FIELDS + b"\r\n", "headers_too_large"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX : 1\r\n\r\n", "bad_request"),
        (b"GET / HTTP/3.0\r\nHost: a\r\n\r\n", "version_not_supported"),
        (b"GET / HTTP/1.2\r\nHost: a\r\n\r\n", "version_not_supported"),
        (b"GET / HTTX/1.1\r\nHost: a\r\n\r\n", "bad_request"),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "bad_request"),
        (b"\x16\x03\x01\x00", "bad_request"),
    ],
)
async def test_each_error_is_its_code(data: bytes, code: str) -> None:
    """A long target, a long or too many fields and anything else are told apart, and each ends the connection."""
    refusal = refusal_of(await error_for(data), LINE)
    assert (refusal.code, refusal.reason, refusal.close) == (code, "parser", True)


def test_a_refusal_of_ours_comes_back_as_itself() -> None:
    """What we queue in an error's place is the very refusal that is answered."""
    refusal = Refusal("overloaded", close=True)
    info = error_info(refusal)
    assert info.status == 503
    assert refusal_of(info.exc, LINE) is refusal


def test_what_is_not_known_is_a_bad_request() -> None:
    """An error of another kind is the client's all the same, and no more is said."""
    assert refusal_of(BadStatusLine("x"), LINE).code == "bad_request"
