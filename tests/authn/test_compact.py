"""The compact form: one spelling a token, one reading a JSON text."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authproxy.authn.compact import (
    HEADER_VALUES_MOST,
    CompactToken,
    MalformedToken,
    json_object,
    parse,
)
from authproxy.authn.compact import base64url as decode
from tests.authn.tokens import base64url


@given(st.binary(max_size=100))
def test_base64url_round_trips(data: bytes) -> None:
    """What is written without padding is read back."""
    assert decode(base64url(data).encode()) == data


@given(st.binary(max_size=12))
def test_base64url_has_one_spelling(segment: bytes) -> None:
    """Whatever is accepted is exactly what encoding the result gives: no padding, no blanks, no spare bits."""
    try:
        data = decode(segment)
    except MalformedToken:
        return
    assert base64url(data).encode() == segment


@pytest.mark.parametrize(
    "segment", [b"A", b"AB", b"AAB", b"AA==", b"AAA=", b"A A", b"+A", b"/A", b"AA\n", b"\xffA"]
)
def test_other_spellings_are_refused(segment: bytes) -> None:
    """RFC 7515 section 2 and RFC 4648 section 3.5, one example of each fault."""
    with pytest.raises(MalformedToken):
        decode(segment)


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"1",
        b'"x"',
        b"null",
        b"{",
        b'{"a":1}x',
        b"{'a':1}",
        b'\xef\xbb\xbf{"a":1}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
    ],
)
def test_what_is_no_object_is_refused(text: bytes) -> None:
    """Only a JSON object in plain UTF-8 holds a header or claims."""
    with pytest.raises(MalformedToken, match=r"^json$"):
        json_object(text)


def test_numbers_are_what_every_reader_can_hold() -> None:
    """64-bit integers and finite floats are kept as they are."""
    values = json_object(
        b'{"a":9223372036854775807,"b":-9223372036854775808,"c":1.5,"d":-0.0,"e":1e3}'
    )
    assert values == {"a": 2**63 - 1, "b": -(2**63), "c": 1.5, "d": 0.0, "e": 1000.0}
    for number in (b"9223372036854775808", b"-9223372036854775809", b"1e309", b"-1e309", b"NaN"):
        with pytest.raises(MalformedToken, match=r"^number$"):
            json_object(b'{"a":' + number + b"}")


@pytest.mark.parametrize(
    "text", ["", ".", "a.b", "a.b.c.d", "a.b.c.d.e", "." * 10_000, "é.é.é", "\ud800.a.a"]
)
def test_three_segments_make_a_token(text: str) -> None:
    """Facts 68, 69: neither fewer nor more (five are JWE), and only ASCII."""
    with pytest.raises(MalformedToken, match=r"^segments$"):
        parse(text)


def test_the_parts_of_a_token() -> None:
    """A token is taken apart without believing it; an issuer of another type names nobody."""
    header, payload = b'{"alg":"x"}', b'{"iss":["https://issuer.test"],"a":1}'
    signed = f"{base64url(header)}.{base64url(payload)}"
    parsed = parse(f"{signed}.{base64url(b'signature')}")
    assert parsed == CompactToken(None, header, payload, signed.encode(), b"signature")
    assert parsed.read_header() == {"alg": "x"}
    assert parsed.read_claims() == {"iss": ["https://issuer.test"], "a": 1}


def test_an_unverified_header_is_small() -> None:
    """What is read strictly before the signature is known must not cost much."""

    def header(values: int) -> bytes:
        return b'{"a":[' + b",".join([b"1"] * values) + b"]}"

    read = CompactToken(None, header(HEADER_VALUES_MOST - 1), b"", b"", b"").read_header()
    assert len(read["a"]) == HEADER_VALUES_MOST - 1
    with pytest.raises(MalformedToken, match=r"^size$"):
        CompactToken(None, header(HEADER_VALUES_MOST), b"", b"", b"").read_header()


@given(st.binary(max_size=200).map(base64.b64encode))
def test_the_quick_and_the_strict_reader_agree_on_the_issuer(noise: bytes) -> None:
    """Where both can read a payload, both see the same issuer."""
    payload = b'{"iss":"https://issuer.test","n":"' + noise + b'"}'
    parsed = parse(f"e30.{base64url(payload)}.")
    assert parsed.issuer == parsed.read_claims()["iss"]
