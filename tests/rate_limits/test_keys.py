"""What a limit counts under."""

from hypothesis import given
from hypothesis import strategies as st

from authproxy.rate_limits.keys import limit_key

PARTS = st.lists(st.text("a/b:\x00\ud800", max_size=4), max_size=4)


def test_trap_keys_joined_by_slash_collide() -> None:
    """The trap of limits' own keys: ("a/b",) and ("a", "b") are different keys here."""
    assert limit_key("a/b") != limit_key("a", "b")
    assert limit_key("a", "") != limit_key("a")
    assert limit_key("", "a") != limit_key("a", "")


@given(PARTS, PARTS)
def test_keys_differ_where_the_parts_do(one: list[str], other: list[str]) -> None:
    """Two lists of parts have the same key only when they are the same list, lone surrogates included."""
    assert (limit_key(*one) == limit_key(*other)) == (one == other)


def test_a_key_is_sixteen_stable_bytes() -> None:
    """Keys are of the length that the store wants, the same in every process, and text counts as UTF-8."""
    assert limit_key("route", "limit", "alice").hex() == "f5730fe98e1faf37d362fddf0fa032d8"
    assert limit_key("é") == limit_key("é".encode())
