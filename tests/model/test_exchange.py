"""The exchange: what a request begins with, and what its layers read off it."""

import pytest

from authproxy.model.exchange import Exchange
from authproxy.model.fields import Fields
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
    new.fields = Fields([(b"X-A", b"1"), (b"x-a", b"2"), (b"X-B", b"\xff")])
    assert new.headers == {"x-a": "1, 2", "x-b": "\ufffd"}


def test_an_exchange_takes_no_other_attributes() -> None:
    """A misspelt attribute fails at once."""
    with pytest.raises(AttributeError):
        exchange().identitty = None  # type: ignore[attr-defined]
