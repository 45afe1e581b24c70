"""The fields of a request, sorted: what passes, what is read, what is refused, and when they mean the same again."""

import pytest

from authproxy.model.errors import Refusal
from authproxy.model.fields import Fields, Line, read_fields
from authproxy.model.headers import HeaderRules

RULES = HeaderRules()
HOST = (b"Host", b"a.test")


def read(*lines: Line) -> Fields:
    return read_fields([HOST, *lines], RULES)


def test_only_what_may_pass_is_kept() -> None:
    """A field that asks for another method is kept and noted; what is read by us or never passes is not in `lines`."""
    found = read((b"X-HTTP-Method", b"PUT"), (b"Accept", b"*/*"), (b"X-Forwarded-User", b"root"))
    assert found.lines == [(b"X-HTTP-Method", b"PUT"), (b"Accept", b"*/*")]
    assert (found.overrides_method, found.host) == (True, "a.test")


def test_what_a_trusted_proxy_says_waits() -> None:
    """It is nothing until somebody knows who said it."""
    line = (b"X-Forwarded-For", b"192.0.2.1")
    assert (read(line).told, read(line).lines) == ([line], [])


def test_connection_takes_what_it_names_and_no_more() -> None:
    """Fields in any case, cookies, Authorization; Upgrade stays only where the option asks for it."""
    lines = ((b"X-A", b"1"), (b"X-B", b"2"), (b"Cookie", b"a=1"), (b"Authorization", b"Bearer x"), (b"Upgrade", b"WebSocket"))  # fmt: skip
    found = read(*lines, (b"Connection", b"upgrade, x-a"))
    assert (found.lines, found.cookies, found.upgrade) == ([(b"X-B", b"2")], [b"a=1"], b"websocket")
    found = read(*lines, (b"Connection", b"close, cookie"), (b"Connection", b"Authorization"))
    assert not any([*found.cookies, found.authorization, found.upgrade])


@pytest.mark.parametrize(
    ("line", "follows"),
    [
        ((b"Accept", b"*/*"), False),
        ((b"Content-Length", b"0"), False),
        ((b"Content-Length", b"1"), True),
        ((b"Transfer-Encoding", b"chunked"), True),
    ],
)
def test_a_body_follows_a_length_or_chunks(line: Line, follows: bool) -> None:
    """RFC 9112 section 6: nothing else announces a body."""
    assert read(line).has_body is follows


@pytest.mark.parametrize(
    "lines",
    [
        ((b"Host", b"b.test"),),
        ((b"Content-Length", b"1"), (b"Content-Length", b"1")),
        ((b"Content-Length", b"+1"),),
        ((b"Content-Length", b"1" * 16),),
        ((b"Transfer-Encoding", b"gzip"),),
        ((b"Transfer-Encoding", b"chunked"), (b"Transfer-Encoding", b"chunked")),
        ((b"Authorization", b"Bearer a"), (b"Authorization", b"Bearer b")),
        ((b"Expect", b"y 100-continue"),),
    ],
)
def test_doubtful_fields_are_refused(lines: tuple[Line, ...]) -> None:
    """What two readers could understand differently is for nobody."""
    with pytest.raises(Refusal, match="bad_request"):
        read(*lines)


@pytest.mark.parametrize(
    "line",
    [
        (b"Content-Length", b"5"),
        (b"Transfer-Encoding", b"chunked"),
        (b"X-Forwarded-For", b"192.0.2.1"),
        (b"X-Request-Id", b"a"),
        (b"Expect", b"100-continue"),
    ],
)
def test_what_speaks_of_one_request_only_is_not_repeatable(line: Line) -> None:
    """A body, another client behind the same connection, an id: each request's own."""
    assert read((b"Accept", b"*/*")).repeatable
    assert not read(line).repeatable


def test_an_upgrade_is_not_repeatable() -> None:
    """It is the last request of its connection."""
    assert not read((b"Upgrade", b"websocket"), (b"Connection", b"upgrade")).repeatable


def test_fields_can_be_of_another_body() -> None:
    """Its kind and length take the place of what was said before, in policies' eyes as well."""
    fields = read_fields(
        [(b"Content-TYPE", b"a/b"), (b"Transfer-Encoding", b"chunked"), (b"X", b"1")], HeaderRules()
    )
    assert fields.headers["content-type"] == "a/b"
    fields.replace_body(b"c/d", 0)
    assert (fields.content_length, fields.has_body) == (0, False)
    assert dict(fields.headers) == {"content-type": "c/d", "x": "1"}
