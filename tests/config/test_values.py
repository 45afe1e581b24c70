"""Values: durations, sizes, addresses, servers, networks, secrets by reference."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from pydantic_core import PydanticCustomError

from authproxy.config.values import (
    Secret,
    SocketAddress,
    has_userinfo,
    parse_duration,
    parse_server,
    parse_size,
    parse_socket_address,
    read_network,
)

ANYTHING = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=20)
    | st.lists(st.integers(), max_size=2)
)


def code(parse: Any, value: Any) -> str:
    """The code of the error that parsing this value is."""
    with pytest.raises(PydanticCustomError) as caught:
        parse(value)
    return caught.value.type


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("500ms", 0.5), ("30s", 30), ("5m", 300), ("12h", 43200), ("7d", 604800), ("0s", 0)],
)
def test_a_duration_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """In seconds."""
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "value",
    [
        30,
        "30",
        "s",
        "1.5s",
        "-1s",
        "1 s",
        "1h30m",
        "5M",
        "٣s",
        "",
        None,
        True,
        "1s\n",
        "1" * 20 + "s",
    ],
)
def test_anything_else_is_no_duration(value: Any) -> None:
    """A bare number has no unit; nothing is guessed."""
    assert code(parse_duration, value) == "bad-duration"


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ("64KiB", 65536),
        ("10MiB", 10 << 20),
        ("1GiB", 1 << 30),
        ("7B", 7),
        (100, 100),
        ("100", 100),
        (0, 0),
    ],
)
def test_a_size_is_a_number_and_a_unit(value: Any, size: int) -> None:
    """In bytes; a plain number is bytes."""
    assert parse_size(value) == size


@pytest.mark.parametrize(
    "value", ["10MB", "10 MiB", "10mib", "1.5MiB", -1, True, None, 1.5, "", 1 << 70]
)
def test_anything_else_is_no_size(value: Any) -> None:
    """Also decimal units, as it would be doubtful which was meant."""
    assert code(parse_size, value) == "bad-size"


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:8443", SocketAddress("127.0.0.1", 8443)),
        ("[::]:8443", SocketAddress("::", 8443)),
        ("localhost:0", SocketAddress("localhost", 0)),
        ("unix:/run/a.sock", SocketAddress(path="/run/a.sock")),
        ("fd:authproxy.socket", SocketAddress(fd="authproxy.socket")),
    ],
)
def test_an_address_is_host_and_port_or_a_socket(text: str, address: SocketAddress) -> None:
    """Written as it is read."""
    assert parse_socket_address(text) == address
    assert str(address) == text


@pytest.mark.parametrize("value", ["", ":80", "80", "a", "a:", "a:65536", "a:x", "::1:80", "[::1]", "[zz]:80", "[1.2.3.4]:80", "a b:80", "http://a:80", "unix:a", "unix:", "unix:/" + "a" * 107, "a:" + "1" * 5000, "[[::]]:1", "a:8٣", "fd:", "fd:a:b", "fd:a b", "fd:é"])  # fmt: skip
def test_anything_else_is_no_address(value: str) -> None:
    """IPv6 is in brackets, a socket's path absolute and short enough for the kernel."""
    assert code(parse_socket_address, value) == "bad-address"


@pytest.mark.parametrize(
    ("text", "server"),
    [
        ("http://127.0.0.1:9000", "http://127.0.0.1:9000"),
        ("https://orders.internal/", "https://orders.internal"),
        ("http://[::1]:9000", "http://[::1]:9000"),
        ("unix:/run/a.sock", "unix:/run/a.sock"),
    ],
)
def test_a_server_is_a_scheme_a_host_and_a_port(text: str, server: str) -> None:
    """Or a socket; a last slash says nothing."""
    assert parse_server(text) == server


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("http://u:p@h", "literal-secret"), ("http://u@h:80/", "literal-secret"), ("https://:p@h", "literal-secret"), ("ftp://u:p@h", "literal-secret"),
        ("http://h/path", "bad-url"), ("http://h?q", "bad-url"), ("http://h/#f", "bad-url"), ("ftp://h", "bad-url"), ("h:80", "bad-url"),
        ("http://", "bad-url"), ("http://h:0", "bad-url"), ("http://h:65536", "bad-url"), ("http://[zz]", "bad-url"), ("http://a..b", "bad-url"),
        ("http://h\n", "bad-url"), ("ht\ntp://h", "bad-url"), ("http://é", "bad-url"), ("unix:a", "bad-url"), ("", "bad-url"), (9000, "wrong-type"),
    ],
)  # fmt: skip
def test_anything_else_is_no_server(value: Any, expected: str) -> None:
    """Credentials are refused before anything else is said, and never quoted."""
    assert code(parse_server, value) == expected


def test_trap_every_server_that_is_taken_can_be_dialled() -> None:
    """What the configuration accepts is never refused later, where nobody can point at it."""
    from authproxy.upstream.dial import Server  # the room above: only this promise needs it

    for text in (
        "http://a",
        "https://a_b.c-d.:1",
        "http://[::1]:65535",
        "unix:/a",
        "http://1.2.3.4/",
    ):
        assert str(Server.parse(parse_server(text)))


@pytest.mark.parametrize(
    ("url", "has"),
    [("https://u:p@h/", True), ("//u@h", True), ("https://h/@", False), ("https://h?a=@", False), ("u@h", False), ("mailto:a@b", False)],
)  # fmt: skip
def test_userinfo_is_what_stands_before_the_host(url: str, has: bool) -> None:
    """RFC 3986 section 3.2.1."""
    assert has_userinfo(url) is has


def test_networks_say_what_is_wrong() -> None:
    """Host bits get a hint of their own."""
    assert str(read_network("10.0.0.0/8")) == "10.0.0.0/8"
    with pytest.raises(PydanticCustomError, match="host bits must be 0"):
        read_network("10.0.0.1/8")
    assert code(read_network, "x") == "bad-network"
    assert code(read_network, 5) == "wrong-type"


@pytest.mark.parametrize("value", [{"file": "a"}, {"env": "A"}])
def test_a_secret_is_a_reference(value: dict[str, str]) -> None:
    """A file or a variable."""
    assert Secret.model_validate(value).model_dump(exclude_none=True) == value


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("hunter2", "literal-secret"), ({"hunter2": None}, "literal-secret"), (["hunter2"], "literal-secret"), (42, "literal-secret"),
        ({"value": "hunter2"}, "literal-secret"), ({}, "bad-secret"), ({"file": "a", "env": "hunter2"}, "bad-secret"), ({"file": ""}, "string_too_short"),
    ],
)  # fmt: skip
def test_a_literal_secret_is_refused_and_not_quoted(value: Any, kind: str) -> None:
    """In whatever form it stands there, the error says nothing of it."""
    with pytest.raises(ValidationError) as caught:
        Secret.model_validate(value)
    (error,) = caught.value.errors(include_input=False, include_url=False)
    assert error["type"] == kind
    assert "hunter2" not in str(error)


@given(ANYTHING)
def test_any_value_is_read_or_refused(value: Any) -> None:
    """Nothing but our own kind of error is raised."""
    for parse in (parse_duration, parse_size, parse_socket_address, parse_server, read_network):
        try:
            parse(value)
        except PydanticCustomError:
            continue


def test_no_duration_needs_no_unit() -> None:
    """`0` is no bound wherever a bound may be none; other bare numbers could be seconds or minutes."""
    assert parse_duration(0) == 0.0
    for value in (1, True, False, 0.0, "0"):
        with pytest.raises(PydanticCustomError):
            parse_duration(value)
