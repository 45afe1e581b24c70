"""The Host field: one spelling of it, or a refusal."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.model.host import parse_host


@pytest.mark.parametrize(
    ("field", "host"),
    [
        ("orders.example.test", "orders.example.test"),
        ("ORDERS.Example.test", "orders.example.test"),
        ("a.test:8443", "a.test"),
        ("a.test.", "a.test"),
        ("a.test.:443", "a.test"),
        ("localhost", "localhost"),
        ("127.0.0.1:1", "127.0.0.1"),
        ("[::1]", "[::1]"),
        ("[::1]:8443", "[::1]"),
        ("[0:0:0::1]", "[::1]"),
        ("[2001:DB8::A]", "[2001:db8::a]"),
        ("a_b.test", "a_b.test"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
    ],
)
def test_a_host_is_lower_case_without_port_and_one_trailing_dot(field: str, host: str) -> None:
    """Routes are matched with one spelling of each name and of each IPv6 literal."""
    assert parse_host(field) == host


@pytest.mark.parametrize(
    "field",
    [
        "", " ", "a b", "a@h", "h/evil", "h:99999x", "h:99999", "h:", "h:-1", "h,evil", '"h"', "h?x", "h#x", "h\\x", "h%41",
        "a..b", "a..", ".a", ".", "-a", "a-", "h:8:8", "[::1", "::1", "[::1]x", "[:::]", "[1.2.3.4]", "[::1%eth0]", "[zz]",
        "h\n", "h\x00", "é.test", "h:\u0663", "a" * 256, "http://h", "h\t",
    ],
)  # fmt: skip
def test_anything_else_is_refused(field: str) -> None:
    """What two readers could understand differently is no host."""
    with pytest.raises(Refusal) as caught:
        parse_host(field)
    assert caught.value.code == "bad_request"


def attempt(field: str) -> str | None:
    """The host; None where it is refused."""
    try:
        return parse_host(field)
    except Refusal as refusal:
        return None if refusal.code == "bad_request" else pytest.fail(refusal.code)


@given(st.text(max_size=30) | st.text("abc.-_:[]0123456789@/ ", max_size=20))
def test_any_text_is_a_host_or_a_refusal(field: str) -> None:
    """A host that was read is plain and reads as itself again; nothing but `bad_request` is raised."""
    host = attempt(field)
    if host is not None:
        assert host == host.lower()
        assert not set(host) & set("/@ \\?#,")
        assert parse_host(host) == host
