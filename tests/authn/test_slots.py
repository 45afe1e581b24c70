"""Where credentials are read from, and what twice the same is."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from authproxy.authn.slots import Presentation, Slot, challenge, compile_slot, cookies_of
from authproxy.config.authenticators import TokenSlot
from authproxy.model.errors import Refusal

BEARER = compile_slot(TokenSlot(header="Authorization", scheme="Bearer"))
BASIC = compile_slot(TokenSlot(header="authorization", scheme="basic"))
HEADER = compile_slot(TokenSlot(header="X-Token"))
COOKIE = compile_slot(TokenSlot(cookie="tok"))


def read(slot: Slot, *fields: tuple[str, str]) -> str | None:
    """What the slot finds among these header fields."""
    return slot.read(Presentation(CIMultiDict(fields)))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("Bearer abc", "abc"), ("bearer abc", "abc"), ("BEARER   abc ", "abc"), ("Bearer a, b", "a, b"),
        ("Bearer", ""), ("Bearer ", ""), ("Basic abc", None), ("Bearerabc", None), ("Bearer\tabc", None), ("", None),
        ("Bea\ud800rer abc", None),
    ],
)  # fmt: skip
def test_a_scheme_in_any_case(value: str, expected: str | None) -> None:
    """RFC 9110 section 11: scheme, spaces, credential; another scheme presents nothing here."""
    assert read(BEARER, ("AUTHORIZATION", value)) == expected


def basic(pair: str) -> str:
    """The credential of Basic for this pair."""
    return base64.b64encode(pair.encode()).decode()


@pytest.mark.parametrize(
    ("credential", "expected"),
    [
        (basic("user:abc"), "abc"), (basic(":abc"), "abc"), (basic("u:a:b"), "a:b"), (basic("nocolon"), ""),
        (basic("u:ab").rstrip("="), ""), ("!!!", ""), (base64.b64encode(b"u:\xff").decode(), ""), ("\ud800", ""),
        (basic("u:a") + " ", "a"), (basic("u:a") + "\n", ""),
    ],
)  # fmt: skip
def test_basic_gives_the_password(credential: str, expected: str) -> None:
    """RFC 7617: strict base64 of UTF-8, and what follows the first colon; all else is presented but no credential."""
    assert read(BASIC, ("Authorization", f"Basic {credential}")) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("abc", "abc"), (" abc\t", "abc"), ("", None), ("  ", None)]
)
def test_a_header_of_its_own(value: str, expected: str | None) -> None:
    """The whole value is the credential; an empty one is none."""
    assert read(HEADER, ("x-token", value)) == expected
    assert read(HEADER) is None


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("tok=abc", "abc"), ("a=1; tok=abc; b=2", "abc"), ("a=1;tok=abc", "abc"), ("tok=a=b", "a=b"), ("tok=", None),
        ("TOK=abc", None), ("xtok=abc", None), ("tok", None), ("a=tok=abc", None), ("", None), (";;;", None),
        ('tok="abc"', '"abc"'), (" tok = abc", "abc"),
    ],
)  # fmt: skip
def test_a_cookie(value: str, expected: str | None) -> None:
    """RFC 6265: names are case-sensitive, values are taken as they are."""
    assert read(COOKIE, ("Cookie", value)) == expected


@pytest.mark.parametrize(
    ("slot", "fields"),
    [
        (BEARER, [("Authorization", "Bearer a"), ("authorization", "Bearer a")]),
        (BEARER, [("Authorization", "Basic a"), ("Authorization", "Bearer a")]),
        (BASIC, [("Authorization", "Basic a"), ("Authorization", "")]),
        (HEADER, [("X-Token", "a"), ("x-token", "b")]),
        (COOKIE, [("Cookie", "tok=a; tok=a")]),
        (COOKIE, [("Cookie", "tok=a"), ("Cookie", "tok=b")]),
        (COOKIE, [("Cookie", "tok=; tok=b")]),
    ],
)
def test_a_credential_twice_is_refused(slot: Slot, fields: list[tuple[str, str]]) -> None:
    """We and the backend would differ in which one counts."""
    with pytest.raises(Refusal) as caught:
        read(slot, *fields)
    assert (caught.value.code, caught.value.reason) == ("bad_request", "repeated-credential")


@given(
    st.text(),
    st.sampled_from([BEARER, BASIC, HEADER, COOKIE]),
    st.sampled_from(["", "Bearer ", "Basic ", "tok="]),
)
def test_any_value_is_read(value: str, slot: Slot, start: str) -> None:
    """Whatever a header holds, also surrogates, it is a text, nothing, or a credential given twice."""
    fields = [
        ("Authorization", start + value),
        ("X-Token", start + value),
        ("Cookie", start + value),
    ]
    try:
        found = read(slot, *fields)
    except Refusal as refusal:
        found = refusal.reason
    assert found is None or isinstance(found, str)


def test_challenges() -> None:
    """RFC 6750 section 3 and RFC 7617 section 2.1; no error where nothing was presented."""
    assert challenge("Bearer") == ("WWW-Authenticate", 'Bearer realm="authproxy"')
    assert (
        challenge("Bearer", error="invalid_token")[1]
        == 'Bearer realm="authproxy", error="invalid_token"'
    )
    assert (
        challenge("basic", error="invalid_token")[1] == 'Basic realm="authproxy", charset="UTF-8"'
    )
    assert challenge("Token", error="invalid_token")[1] == 'Token realm="authproxy"'
    dpop = challenge("DPoP", error="invalid_dpop_proof")[1]
    assert dpop.startswith('DPoP realm="authproxy", error="invalid_dpop_proof", algs="RS256 ')
    assert "HS256" not in dpop


def test_slots_have_names_of_their_own() -> None:
    """A header and a cookie of one name are two places."""
    slots = [
        BEARER,
        BASIC,
        HEADER,
        compile_slot(TokenSlot(cookie="x-token")),
        compile_slot(TokenSlot(cookie="X-Token")),
    ]
    assert len({slot.name for slot in slots}) == 5
    assert compile_slot(TokenSlot(header="x-TOKEN")).name == HEADER.name


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("a=b; c=d", [("a", "b"), ("c", "d")]), ("a=b;c=d;", [("a", "b"), ("c", "d"), ("", "")]),
        ("x=1 __Host-a=evil", [("x", "1 __Host-a=evil")]), ("x=1\t__Host-a=evil", [("x", "1\t__Host-a=evil")]),
        ("x=1,__Host-a=evil", [("x", "1,__Host-a=evil")]), ("x=1\x0b__Host-a=evil", [("x", "1\x0b__Host-a=evil")]),
        ("\u2000__Host-a=evil", [("\u2000__Host-a", "evil")]), ("\xa0__Host-a=evil", [("\xa0__Host-a", "evil")]),
        ('a="b; __Host-a=evil"', [("a", '"b'), ("__Host-a", 'evil"')]), ("a=b=c", [("a", "b=c")]), ("a", [("a", "")]),
    ],
)  # fmt: skip
def test_a_cookie_is_what_stands_between_semicolons(
    line: str, expected: list[tuple[str, str]]
) -> None:
    """As browsers mean it: a sibling host's cookie cannot hold one of ours in its value, nor look like one by white space."""
    assert cookies_of(CIMultiDict([("Cookie", line)])) == expected
