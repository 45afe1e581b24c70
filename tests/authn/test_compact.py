"""The compact form: one spelling a token, one reading a JSON text."""

import base64
import json
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from authproxy.authn.compact import (
    DEPTH_MOST,
    HEADER_VALUES_MOST,
    KNOWN_MOST,
    CompactToken,
    MalformedToken,
    _known_header,
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


def test_a_header_is_remembered_while_it_is_small_and_good() -> None:
    """The tokens of a key share one; nobody can change it, and what anybody sends takes no room to speak of."""
    _known_header.cache_clear()
    small = CompactToken(None, b'{"alg":"x"}', b"", b"", b"")
    assert small.read_header() is small.read_header()
    with pytest.raises(TypeError):
        small.read_header()["alg"] = "none"  # type: ignore[index]  # that is the point
    large = CompactToken(None, b'{"alg":"%b"}' % (b"x" * KNOWN_MOST), b"", b"", b"")
    assert large.read_header() == large.read_header()
    for _ in range(2):
        with pytest.raises(MalformedToken):
            CompactToken(None, b'{"alg":"x","alg":"y"}', b"", b"", b"").read_header()
    assert _known_header.cache_info().currsize == 1


def outcome(read: Callable[[], Any]) -> str:
    """What is read, types and signs of zeros included, or why it is not."""
    try:
        return repr(read())
    except MalformedToken as malformed:
        return f"malformed: {malformed}"


NUMBERS = st.integers(-(2**70), 2**70) | st.integers(-(2**53) - 9, 2**53 + 9) | st.floats()
LEAVES = st.none() | st.booleans() | NUMBERS | st.text(st.characters(), max_size=8)
NAMES = st.sampled_from(["a", "b", "iss", "\x7f", "é"])
TREES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner), max_leaves=12
)
PLAIN = TREES.map(lambda tree: json.dumps({"a": tree}, separators=(",", ":")).encode())
AS_IT_IS = TREES.map(
    lambda tree: json.dumps({"a": tree}, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )
)
PIECES = st.sampled_from(
    [b'{"a":', b'"a":1', b'"\\u0061":1', b",", b"}", b"[", b"]", b"-0", b"-0.0", b"1E5", b"1e16", b"1e400", b"1.0", b" ", b'"',
     b"9007199254740993", b"9223372036854775808", b"18446744073709551616", b"1.8446744073709552e19", b"NaN", b'"\xc2\x85"'],
)  # fmt: skip


@given(PLAIN | AS_IT_IS | st.lists(PIECES, max_size=9).map(b"".join))
@example(b'{"a":1,"a":1}')
@example(b'{"a":9223372036854775808}')
@example(b'{"a":18446744073709551616}')
@example(b'{"a":-0}')
@example(b'{"a":-0.0}')
@example(b'{"a":1e400}')
@example(b'{"a":"\\ud800"}')
@example(b"{}")
@example(b"[]")
@example(b'{"a":%b}' % (b"[" * DEPTH_MOST + b"]" * DEPTH_MOST))
@example(b'{"a":%b}' % (b"[" * 9_999 + b"]" * 9_999))
def test_claims_are_what_the_strict_reader_reads(payload: bytes) -> None:
    """However they are written: the quick way is taken only where nothing could be read otherwise."""
    token = CompactToken(None, b"{}", payload, b"", b"")
    assert outcome(token.read_claims) == outcome(lambda: json_object(payload))


def test_the_quick_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what issuers write: the strict reader is not asked, as it costs as much as all other checks of claims."""
    monkeypatch.delattr("authproxy.authn.compact.json_object")
    claims = {"iss": "https://issuer.test", "exp": 1_700_000_000, "iat": 1.5, "groups": ["é"]}
    token = CompactToken(None, b"{}", orjson.dumps(claims), b"", b"")
    assert token.read_claims() == claims
    assert token.read_claims() is not token.read_claims()
