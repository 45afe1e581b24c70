"""PROXY headers to the letter: the examples of the specification, and everything that is nearly one."""

from ipaddress import IPv4Address, IPv6Address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.server.proxy_protocol import (
    HEADER_MOST,
    V1_MOST,
    V2_SIGNATURE,
    BadHeader,
    header_end,
    told_address,
)

FOUR = IPv4Address("9.9.9.9").packed + IPv4Address("127.0.0.1").packed + b"\x12\x67\x00\x50"
SIX = IPv6Address("2001:db8::9").packed + IPv6Address("::1").packed + b"\x12\x67\x00\x50"


def v2(
    family: int = 0x11, body: bytes = FOUR, command: int = 0x21, length: int | None = None
) -> bytes:
    """A header of version 2."""
    size = len(body) if length is None else length
    return V2_SIGNATURE + bytes([command, family]) + size.to_bytes(2, "big") + body


GOOD = [
    (b"PROXY TCP4 255.255.255.255 255.255.255.255 65535 65535\r\n", "255.255.255.255"),
    (b"PROXY TCP4 9.9.9.9 127.0.0.1 0 1\r\n", "9.9.9.9"),
    (b"PROXY TCP6 2001:db8::9 ::1 4711 80\r\n", "2001:db8::9"),
    (b"PROXY TCP6 ::ffff:9.9.9.9 ::1 4711 80\r\n", "9.9.9.9"),
    (b"PROXY UNKNOWN\r\n", None),
    (b"PROXY UNKNOWN ffff:f...f:ffff 1 2 3 what ever\r\n", None),
    (v2(), "9.9.9.9"),
    (v2(0x21, SIX), "2001:db8::9"),
    (v2(0x21, IPv6Address("::ffff:9.9.9.9").packed + SIX[16:]), "9.9.9.9"),
    (v2(body=FOUR + b"\x04\x00\x02ok" + b"\x03\x00\x04crc!"), "9.9.9.9"),  # TLVs follow
    (v2(0x31, bytes(216)), None),  # a client on a Unix socket of the proxy's machine
    (v2(0x00, b""), None),
    (v2(0x00, b"whatever"), None),
    (v2(command=0x20), None),  # LOCAL
    (v2(0x77, b"", command=0x20), None),
]


@pytest.mark.parametrize(("header", "expected"), GOOD)
def test_good_headers(header: bytes, expected: str | None) -> None:
    """Whom they name; where they speak for nobody, the peer is meant. What follows is never taken for a part of them."""
    for behind in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"PROXY TCP4 1.1.1.1 1.1.1.1 1 1\r\n",
        b"\x16\x03\x01",
    ):
        assert header_end(header + behind) == len(header)
    found = told_address(header)
    assert (None if found is None else str(found)) == expected


@pytest.mark.parametrize(("header", "_expected"), GOOD)
def test_a_part_of_a_header_is_waited_for(header: bytes, _expected: str | None) -> None:
    """However it is cut, nothing but all of it is a header, and what has come belongs to it."""
    assert [header_end(header[:at]) for at in range(1, min(len(header), 16) - 1)] == [None] * (min(len(header), 16) - 2)  # fmt: skip
    assert all(header_end(header[:at]) in {None, len(header)} for at in range(1, len(header)))


@pytest.mark.parametrize(
    "header",
    [
        b"PROXY TCP4 9.9.9.9 127.0.0.1 4711\r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 4711 80 81\r\n",
        b"PROXY TCP4  9.9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4\t9.9.9.9\t127.0.0.1\t4711\t80\r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 4711 80 \r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 4711 80\n\r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 04711 80\r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 65536 80\r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 -1 80\r\n",
        b"PROXY TCP4 9.9.9.9 127.0.0.1 +1 80\r\n",
        b"PROXY TCP4 9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4 09.9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4 0x9.9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4 localhost 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4 2001:db8::9 ::1 4711 80\r\n",
        b"PROXY TCP6 9.9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP6 fe80::1%eth0 ::1 4711 80\r\n",
        b"PROXY tcp4 9.9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY UDP4 9.9.9.9 127.0.0.1 4711 80\r\n",
        b"PROXY TCP4 9.9.9.9\xa0127.0.0.1 4711 80\r\n",
        b"PROXY \r\n",
        v2(command=0x11),
        v2(command=0x31),
        v2(command=0x22),
        v2(0x12),
        v2(0x22, SIX),
        v2(0x01),
        v2(0x41, bytes(300)),
        v2(body=FOUR[:-1]),
        v2(0x21, FOUR),
        v2(0x31, SIX),
    ],
)
def test_what_is_not_to_the_letter(header: bytes) -> None:
    """Whole headers that two readers could read differently are errors."""
    assert header_end(header) == len(header)
    with pytest.raises(BadHeader):
        told_address(header)


@pytest.mark.parametrize(
    "begin",
    [
        b"G", b"GET / HTTP/1.1\r\n", b"\x16\x03\x01", b"proxy TCP4", b"PROXYTCP4", b"PRI * HTTP/2.0\r\n\r\n", b"\r\n\r\n\r\n",
        V2_SIGNATURE[:-1] + b"\r", b"\n", b"PROXY " + b"9" * (V1_MOST - 6), b"PROXY UNKNOWN " + b" " * V1_MOST + b"\r\n",
        v2(length=HEADER_MOST), v2(length=65535),
    ],
)  # fmt: skip
def test_what_begins_no_header(begin: bytes) -> None:
    """It is told at the first byte that is wrong, and at the bound on its length."""
    with pytest.raises(BadHeader):
        header_end(begin)


@given(st.binary(min_size=1, max_size=600))
def test_any_bytes(data: bytes) -> None:
    """Whatever comes is a header, a part of one, or an error; and what is a header has its end within the bounds."""
    for begin in (b"", b"PROXY TCP4 ", V2_SIGNATURE):
        seen = begin + data
        try:
            end = header_end(seen)
            if end is None:
                assert len(seen) < V1_MOST
            elif end <= len(seen):
                assert 0 < end <= HEADER_MOST
                told_address(seen[:end])
        except BadHeader:
            continue
