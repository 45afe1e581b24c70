"""The exchange: what a request begins with, and what its layers read off it."""

import pytest

from authproxy.model.exchange import Exchange
from authproxy.model.headers import Kind
from authproxy.model.target import parse_target


def exchange() -> Exchange:
    return Exchange("id", 1.0, 2.0)


def test_a_request_begins_unidentified_and_not_admitted() -> None:
    """Nothing is found out by default: no identity, no route, no admission."""
    new = exchange()
    assert (new.identity, new.route, new.admitted, new.target) == (None, None, False, None)


def test_the_path_is_the_decoded_one() -> None:
    """Logs and policies read one path; it is empty where the target could not be read."""
    new = exchange()
    assert new.path == ""
    new.target = parse_target("/%61?q")
    assert new.path == "/a"


def test_headers_are_seen_in_lower_case_and_joined() -> None:
    """Policies see one value a name."""
    new = exchange()
    new.lines = [(b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"\xff")]
    assert new.headers == {"x-a": "1, 2", "x-b": "\ufffd"}


def test_only_what_may_pass_is_kept() -> None:
    """A field that asks for another method is kept and noted; what is read or dropped elsewhere is not."""
    new = exchange()
    kept = (Kind.PASS, Kind.METHOD_OVERRIDE)
    assert [kind for kind in Kind if new.take_line(kind, (b"X", b"%d" % kind))] == list(kept)
    assert new.lines == [(b"X", b"%d" % kind) for kind in kept]
    assert new.overrides_method


def test_connection_takes_what_it_names_and_no_more() -> None:
    """Fields in any case, cookies, Authorization; Upgrade stays only where the option asks for it."""
    new = exchange()
    new.lines, new.cookies = [(b"X-A", b"1"), (b"X-B", b"2")], [b"a=1"]
    new.authorization, new.upgrade = b"Bearer x", b"websocket"
    new.apply_connection({b"upgrade", b"x-a"})
    assert (new.lines, new.cookies, new.upgrade) == ([(b"X-B", b"2")], [b"a=1"], b"websocket")
    new.apply_connection({b"close", b"cookie", b"authorization"})
    left = [*new.cookies, new.authorization, new.upgrade]
    assert not any(left)


@pytest.mark.parametrize(
    ("length", "chunked", "follows"),
    [(None, False, False), (0, False, False), (1, False, True), (None, True, True)],
)
def test_a_body_follows_a_length_or_chunks(
    length: int | None, chunked: bool, follows: bool
) -> None:
    """RFC 9112 section 6: nothing else announces a body."""
    new = exchange()
    new.content_length, new.chunked = length, chunked
    assert new.has_body is follows


def test_an_exchange_takes_no_other_attributes() -> None:
    """A misspelt attribute fails at once."""
    with pytest.raises(AttributeError):
        exchange().identitty = None  # type: ignore[attr-defined]
