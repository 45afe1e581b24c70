"""The compact form of a signed token (RFC 7515 section 3.1), taken apart once; nothing is verified here.

One token has one spelling: canonical base64url, unique names, numbers that every reader reads alike. The strict reader of
JSON costs 200 µs on 8 KB made for it, so a quick one finds whose the token is, and the strict one follows the signature.
"""

import binascii
import json
import math
from collections.abc import Mapping
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

import orjson

DEPTH_MOST = 32
HEADER_VALUES_MOST = 128
KNOWN_MOST = 512  # bytes of a header that is remembered

_TO_BASE64 = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING = (b"", b"", b"==", b"=")
# The last character of a segment of 2 or 3 over a multiple of 4 whose spare bits are zero (RFC 4648 section 3.5).
_LAST = (b"", b"", b"AQgw", b"AEIMQUYcgkosw048")


class MalformedToken(ValueError):  # noqa: N818  # it says what came in, not what failed here
    """This is no compact JWS with JSON claims; the argument is one constant word."""


class CompactToken(NamedTuple):
    """A token taken apart. Nothing of it is verified; `signed` is what `signature` is over.

    `header` and `payload` are JSON still; `issuer` is what the payload says at first sight, None where it names nobody.
    """

    issuer: str | None
    header: bytes
    payload: bytes
    signed: bytes
    signature: bytes

    def read_header(self) -> Mapping[str, Any]:
        """The header's members. It is read before anything is verified, so it must be small."""
        return (_known_header if len(self.header) <= KNOWN_MOST else _header)(self.header)

    def read_claims(self) -> dict[str, Any]:
        """The claims, strictly; for when the signature is known to be good. A new object each time."""
        return _plain_object(self.payload) or json_object(self.payload)


def _header(header: bytes) -> Mapping[str, Any]:
    if sum(map(header.count, (b",", b"{", b"["))) > HEADER_VALUES_MOST:
        raise MalformedToken("size")
    return MappingProxyType(json_object(header))


# The tokens of a key have one header, so there are as many as keys. What is unknown and bad is read each time.
_known_header = lru_cache(maxsize=64)(_header)


def base64url(segment: bytes) -> bytes:
    """Decode base64url without padding, whitespace or spare bits (facts 85: one value, one spelling).

    Raises:
        MalformedToken: anything else.
    """
    rest = len(segment) % 4
    if rest and segment[-1] not in _LAST[rest]:
        raise MalformedToken("base64url")
    try:
        return binascii.a2b_base64(segment.translate(_TO_BASE64) + _PADDING[rest], strict_mode=True)
    except binascii.Error:
        raise MalformedToken("base64url") from None


_known_segment = lru_cache(maxsize=64)(base64url)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # RFC 8725 section 2.4, facts 79: with two `alg` or two `sub`, readers differ in which one counts.
    members = dict(pairs)
    if len(members) != len(pairs):
        raise MalformedToken("duplicate-name")
    return members


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):  # 1e400
        raise MalformedToken("number")
    return number


def _whole(text: str) -> int:
    # 64 bits is what policies (CEL) and logs can hold; and int() of thousands of digits is slow (CVE-2020-10735).
    if len(text) > 20 or not -(2**63) <= (number := int(text)) < 2**63:
        raise MalformedToken("number")
    return number


def _no_constant(_: str) -> Any:
    raise MalformedToken("number")  # NaN and Infinity are not JSON (RFC 8259 section 6)


_DECODER = json.JSONDecoder(
    object_pairs_hook=_unique, parse_float=_finite, parse_int=_whole, parse_constant=_no_constant
)


def _check_tree(value: Any, depth: int = 1) -> None:
    if isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            raise MalformedToken("surrogate")  # it has no UTF-8 form
    elif isinstance(value, dict | list):
        if depth > DEPTH_MOST:
            raise MalformedToken("depth")
        for member in (*value, *value.values()) if isinstance(value, dict) else value:
            _check_tree(member, depth + 1)


def json_object(data: bytes) -> dict[str, Any]:
    """Decode a JSON object: unique names, finite 64-bit numbers, no surrogates, at most 32 deep.

    Raises:
        MalformedToken: anything else.
    """
    brackets = data.count(b"{") + data.count(b"[")
    try:
        value = _DECODER.decode(data.decode())
    except MalformedToken:
        raise
    except (ValueError, RecursionError):
        raise MalformedToken("json") from None
    if not isinstance(value, dict):
        raise MalformedToken("json")
    if brackets > DEPTH_MOST or b"\\u" in data:  # only these can be too deep or hold a surrogate
        _check_tree(value)
    return value


def _plain_object(data: bytes) -> dict[str, Any] | None:
    """What `json_object` makes of it, where it is written without any freedom, as nearly all tokens are; else None.

    What is written again from what was read, byte by byte, names nothing twice and has nothing in it that a quick reader
    takes for something else: such a name or number would not come out as it went in. Of whole numbers only those within
    53 bits are written.
    """
    if data.count(b"{") + data.count(b"[") > DEPTH_MOST:
        return None
    try:
        value = orjson.loads(data)
        same = orjson.dumps(value, option=orjson.OPT_STRICT_INTEGER) == data
    except (orjson.JSONDecodeError, orjson.JSONEncodeError):
        return None
    return value if same and isinstance(value, dict) else None


def _issuer(payload: bytes) -> str | None:
    try:
        claims = orjson.loads(payload)
    except orjson.JSONDecodeError:
        raise MalformedToken("json") from None
    issuer = claims.get("iss") if isinstance(claims, dict) else None
    return issuer if isinstance(issuer, str) else None


def parse(token: str) -> CompactToken:
    """Take a token apart; its length is the caller's to bound.

    Raises:
        MalformedToken: this is no compact JWS with JSON in it (five segments are JWE: never decrypted, facts 69).
    """
    segments = token.encode().split(b".", 3) if token.isascii() else []
    if len(segments) != 3:
        raise MalformedToken("segments")
    header, claims, signature = segments
    payload, signed = base64url(claims), header + b"." + claims
    decode = _known_segment if len(header) <= KNOWN_MOST else base64url
    return CompactToken(_issuer(payload), decode(header), payload, signed, base64url(signature))
