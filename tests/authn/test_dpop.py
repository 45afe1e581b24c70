"""Proofs: each is good once, for one request, one token and one key, and only for a short time."""

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from authproxy.authn.dpop import PROOF_MOST, WINDOW, Proofs, normalised
from authproxy.authn.jwk import thumbprint_of
from authproxy.authn.slots import Presentation
from authproxy.model.errors import Refusal
from authproxy.state.memory import MemoryStore
from authproxy.state.store import StateUnavailable
from tests.authn.proofs import URI, jwk_of, private_jwk, proof
from tests.authn.tokens import NOW, base64url, pem_of, sign

ACCESS = "the.access.token"
LEEWAY = 30.0


def presented(*proofs: str, method: str = "GET", uri: str = URI) -> Presentation:
    fields = CIMultiDict(("DPoP", one) for one in proofs)
    return Presentation(fields, None, method, uri)


def verdict(
    *proofs: str, by: Proofs | None = None, now: float = NOW, algorithm: str = "ES256", **of: Any
) -> str:
    """`good`, or the reason of the refusal."""
    checks = by or Proofs(MemoryStore(), LEEWAY)
    try:
        shown = presented(*proofs, **of)
        asyncio.run(checks.check(thumbprint_of(jwk_of(algorithm)), ACCESS, shown, now))
    except Refusal as refusal:
        told = 'DPoP realm="authproxy", error="invalid_dpop_proof"' in refusal.headers[0][1]
        return refusal.reason if (refusal.code, told) == ("token_invalid", True) else refusal.code
    return "good"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512", "RS256", "EdDSA", "Ed25519"])
def test_a_good_proof(algorithm: str) -> None:
    """By every kind of key pair."""
    assert verdict(proof(ACCESS, algorithm=algorithm), algorithm=algorithm) == "good"


def test_a_proof_is_good_once() -> None:
    """In whichever worker: they share the store. Another key may use the same `jti`."""
    store = MemoryStore()
    one = proof(ACCESS, {"jti": "same"})
    assert verdict(one, by=Proofs(store, LEEWAY)) == "good"
    assert verdict(one, by=Proofs(store, LEEWAY)) == "dpop-replayed"
    assert verdict(proof(ACCESS, {"jti": "same"}), by=Proofs(store, LEEWAY)) == "dpop-replayed"
    other = proof(ACCESS, {"jti": "same"}, algorithm="ES384")
    assert verdict(other, by=Proofs(store, LEEWAY), algorithm="ES384") == "good"


def test_a_used_proof_is_remembered_as_long_as_it_would_be_good() -> None:
    """At no moment is it neither too old nor known, also for one from the future as far as clocks may differ."""
    for made in (NOW - 30, NOW, NOW + LEEWAY):
        by = Proofs(MemoryStore(), LEEWAY)
        one = proof(ACCESS, {"iat": made})
        assert verdict(one, by=by) == "good"
        end = made + WINDOW + LEEWAY
        assert verdict(one, by=by, now=end - 0.001) == "dpop-replayed"
        assert verdict(one, by=by, now=end) == "dpop-iat"


async def test_without_the_store_nobody_can_tell() -> None:
    """A proof that may have been used is not taken: 503, not 401."""

    class Away(MemoryStore):
        def transact(self, *_args: Any) -> Any:
            raise StateUnavailable("away")

    with pytest.raises(Refusal) as refused:
        await Proofs(Away(), LEEWAY).check(
            thumbprint_of(jwk_of()), ACCESS, presented(proof(ACCESS)), NOW
        )
    assert (refused.value.code, refused.value.reason) == ("state_unavailable", "dpop")


def test_a_bad_proof_leaves_nothing_behind() -> None:
    """Only who holds the key fills the store."""
    store = MemoryStore()
    for bad in (
        proof(ACCESS, {"htm": "PUT"}),
        proof(ACCESS, number=8),
        proof(ACCESS)[:-4] + "AAAA",
    ):
        assert verdict(bad, by=Proofs(store, LEEWAY)) != "good"
    assert store._values == {}


@pytest.mark.parametrize(
    ("claims", "reason"),
    [
        ({"htm": "POST"}, "dpop-htm"), ({"htm": "get"}, "dpop-htm"), ({"htm": ["GET"]}, "dpop-htm"),
        ({"htu": "https://api.test/orders/2"}, "dpop-htu"), ({"htu": "http://api.test/orders/1"}, "dpop-htu"),
        ({"htu": "https://api.test:444/orders/1"}, "dpop-htu"), ({"htu": "https://other.test/orders/1"}, "dpop-htu"),
        ({"htu": "https://api.test/Orders/1"}, "dpop-htu"), ({"htu": "/orders/1"}, "dpop-htu"),
        ({"htu": "https://u@api.test/orders/1"}, "dpop-htu"), ({"htu": 1}, "dpop-htu"),
        ({"htu": "https://api.test\\@evil/orders/1"}, "dpop-htu"), ({"htu": URI + "\n"}, "dpop-htu"),
        ({"ath": "x"}, "dpop-ath"), ({"ath": None}, "dpop-ath"), ({"ath": "\u0131"}, "dpop-ath"),
        ({"jti": ""}, "dpop-jti"), ({"jti": 1}, "dpop-jti"), ({"jti": "x" * 257}, "dpop-jti"),
        ({"iat": NOW - WINDOW - LEEWAY}, "dpop-iat"), ({"iat": NOW + LEEWAY + 1}, "dpop-iat"),
        ({"iat": str(NOW)}, "dpop-iat"), ({"iat": True}, "dpop-iat"), ({"iat": None}, "dpop-iat"),
    ],
)  # fmt: skip
def test_a_proof_for_something_else(claims: dict[str, Any], reason: str) -> None:
    """Another method, another place, another token, another time, and what is none of these."""
    assert verdict(proof(ACCESS, claims)) == reason


@pytest.mark.parametrize("name", ["htm", "htu", "ath", "jti", "iat", "typ", "alg", "jwk"])
def test_nothing_may_be_missing(name: str) -> None:
    """Every member that 4.3 names is needed."""
    assert verdict(proof(ACCESS, without=name)) != "good"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({"typ": "JWT"}, "dpop-typ"), ({"typ": "at+jwt"}, "dpop-typ"), ({"typ": None}, "dpop-typ"),
        ({"alg": "none"}, "dpop-algorithm"), ({"alg": "HS256"}, "dpop-algorithm"), ({"alg": ["ES256"]}, "dpop-algorithm"),
        ({"alg": "RS256"}, "dpop-key"), ({"jwk": private_jwk()}, "dpop-key"),
        ({"jwk": {"kty": "oct", "k": "c2VjcmV0"}}, "dpop-key"), ({"jwk": "x"}, "dpop-key"), ({"jwk": {}}, "dpop-key"),
        ({"jwk": {**jwk_of(), "use": "enc"}}, "dpop-key"), ({"jwk": {**jwk_of(), "x": 1}}, "dpop-other-key"), ({"jwk": {"kty": ["EC"]}}, "dpop-key"),
        ({"jwk": {"kty": "EC"}}, "dpop-other-key"),
        ({"jwk": {**jwk_of(), "y": jwk_of()["x"]}}, "dpop-other-key"),
        ({"crit": ["exp"]}, "dpop-header"), ({"b64": False}, "dpop-header"),
        ({"jwk": jwk_of("ES256", 8)}, "dpop-other-key"), ({"kid": "k", "jku": "https://evil.test"}, "good"),
    ],
)  # fmt: skip
def test_the_key_in_the_header(header: dict[str, Any], reason: str) -> None:
    """A public key of the algorithm, the one that the token names; where a header points at is never looked at."""
    assert verdict(proof(ACCESS, {}, header)) == reason


def test_a_proof_signed_by_another_key() -> None:
    """The header shows the right key, which anybody can know, and the signature is another's."""
    head = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk_of()}
    for pem in (pem_of("ES256", 8), pem_of("ES256", 9)):
        assert verdict(sign(head, b"{}", "ES256", pem)) == "dpop-signature"


def test_one_proof_and_only_one() -> None:
    """None, several, too long, and what is no token."""
    one = proof(ACCESS)
    assert verdict() == "dpop-missing"
    assert verdict(one, proof(ACCESS)) == "dpop-repeated"
    assert verdict(one, one) == "dpop-repeated"
    assert verdict(f"{one}, {one}") == "dpop-malformed"
    assert verdict("x" * (PROOF_MOST + 1)) == "dpop-too-long"
    twice = b'{"typ":"dpop+jwt","typ":"dpop+jwt"}'
    for junk in ("", "x", "a.b.c", f"{base64url(b'[]')}.{base64url(b'{}')}.AAAA", "\ud800.a.b"):
        assert verdict(junk) == "dpop-malformed"
    assert verdict(sign(twice, b"{}", "ES256", pem_of("ES256", 7))) == "dpop-malformed"


def test_a_target_that_is_no_uri_matches_nothing() -> None:
    """Two that cannot be read are not the same."""
    odd = "https://api.test/\u00e9"
    assert verdict(proof(ACCESS, {"htu": odd}), uri=odd) == "dpop-htu"
    assert verdict(proof(ACCESS, {"htu": ""}), uri="") == "dpop-htu"
    assert normalised("https://a/%%36%31") is None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://API.test/orders/1", URI), ("HTTPS://api.test:443/orders/1", URI), (URI + "?a=b#c", URI),
        ("https://api.test:/orders/1", URI), ("https://api.test/%6frders/1", URI), ("https://api.test", "https://api.test/"),
        ("https://api.test/%c3%a9", "https://api.test/%C3%A9"), ("http://[2001:DB8::1]:80/", "http://[2001:db8::1]/"),
        ("http://a:0080/", "http://a/"),
    ],
)  # fmt: skip
def test_the_same_place_in_other_letters(one: str, other: str) -> None:
    """RFC 3986 sections 6.2.2 and 6.2.3: case, default ports, escapes of what needs none; query and fragment do not count."""
    assert normalised(one) == normalised(other) is not None


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://a/b%2Fc", "https://a/b/c"), ("https://a/x", "http://a/x"), ("http://a:443/", "https://a:443/"),
        ("https://a/b/", "https://a/b"), ("https://a/%41", "https://a/a"), ("https://a:80/", "https://a/"),
    ],
)  # fmt: skip
def test_another_place(one: str, other: str) -> None:
    """What a server may tell apart stays apart."""
    assert normalised(one) != normalised(other)


@given(st.text(max_size=60))
def test_any_text_is_a_uri_or_none(text: str) -> None:
    """Nothing escapes, and what was normalised once stays as it is."""
    for uri in (text, f"https://{text}", f"https://a/{text}"):
        found = normalised(uri)
        assert found is None or normalised(found) == found
