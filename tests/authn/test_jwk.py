"""One key at a time: what is passed over, and what no key set may hold."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519

from authproxy.authn.issue import public_jwks
from authproxy.authn.jwk import KeyProblem, algorithms_of, public_jwk, thumbprint_of, vet_jwk
from tests.authn.tokens import base64url, key_for

# RFC 7638 section 3.1.
RFC_7638 = {
    "kty": "RSA",
    "n": "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjBZCiFV4n3oknjhMs"
    "tn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn"
    "1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw",
    "e": "AQAB",
}


def jwk_of(algorithm: str, **changes: Any) -> dict[str, Any]:
    """The public JWK for an algorithm, with these members changed; None takes one out."""
    jwk: dict[str, Any] = {**public_jwks([key_for(algorithm)], [algorithm])["keys"][0], **changes}
    return {name: value for name, value in jwk.items() if value is not None}


def problem(jwk: object) -> str:
    """What is wrong with a key."""
    with pytest.raises(KeyProblem) as caught:
        vet_jwk(jwk)
    assert caught.value.remedy
    return caught.value.text


def test_the_thumbprint_is_that_of_the_rfc() -> None:
    """RFC 7638 section 3.1 gives the example; members that are not required do not count."""
    expected = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
    assert thumbprint_of({**RFC_7638, "alg": "RS256", "kid": "2011-04-29"}) == expected


@pytest.mark.parametrize(
    "algorithm", ["RS256", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
)
def test_a_key_serves_what_it_is_for(algorithm: str) -> None:
    """With `alg` that one only (Ed25519 under both its names), without it all of its kind."""
    bound, free = vet_jwk(jwk_of(algorithm)), vet_jwk(jwk_of(algorithm, alg=None))
    assert bound is not None
    assert free is not None
    both = {"EdDSA", "Ed25519"}
    assert bound.algorithms == (both if algorithm in both else {algorithm})
    assert bound.algorithms <= free.algorithms


@pytest.mark.parametrize(
    "changes",
    [
        {"use": "enc"}, {"key_ops": ["sign"]}, {"key_ops": []}, {"use": "sig", "key_ops": ["encrypt"]},
        {"kty": "XYZ"}, {"kty": None}, {"alg": "RSA-OAEP"}, {"alg": "HS256"}, {"alg": ""}, {"kty": "EC", "crv": "secp256k1"},
        {"kty": "OKP", "crv": "X25519"}, {"kty": "EC", "crv": "Ed25519"},
    ],
)  # fmt: skip
def test_a_key_for_something_else_is_passed_over(changes: dict[str, Any]) -> None:
    """RFC 7517 section 5; facts 0.7: `use` and `key_ops` that forbid verifying are obeyed."""
    assert vet_jwk(jwk_of("RS256", **changes)) is None


@pytest.mark.parametrize("member", ["d", "p", "q", "dp", "dq", "qi", "oth", "k"])
def test_private_members_are_refused(member: str) -> None:
    """A key that others may have read signs nothing any more."""
    assert problem(jwk_of("RS256", **{member: "AA"})) == "a private key stands in a public key set"


def test_a_symmetric_key_is_refused() -> None:
    """CVE-2026-48526: there is no `oct` in a public set, not even an unused one."""
    assert "symmetric" in problem({"kty": "oct", "k": "AAAA", "use": "enc"})


@pytest.mark.parametrize("member", ["n", "e"])
@pytest.mark.parametrize(
    "spoil",
    [
        lambda v: v + "=",
        lambda v: v + "\n",
        lambda v: "AA" + v,
        lambda _: "",
        lambda _: 1,
        lambda _: "é",
    ],
)
def test_numbers_are_written_as_the_rfc_says(member: str, spoil: Any) -> None:
    """RFC 7518 section 6.3.1: strict base64url, no leading zero octet."""
    jwk = jwk_of("RS256")
    assert problem({**jwk, member: spoil(jwk[member])}).startswith(f"`{member}` of a key")


@pytest.mark.parametrize(
    ("algorithm", "size"), [("ES256", 32), ("ES384", 48), ("ES512", 66), ("EdDSA", 32)]
)
def test_coordinates_have_their_full_length(algorithm: str, size: int) -> None:
    """RFC 7518 section 6.2.1.2 and RFC 8037: neither shorter nor longer."""
    for length in (0, size - 1, size + 1):
        assert problem(jwk_of(algorithm, x=base64url(b"\1" * length))).startswith("`x` of a key")


def test_a_point_off_its_curve_is_refused() -> None:
    """Numbers that are no point would make an invalid-curve attack possible."""
    assert problem(jwk_of("ES256", x=base64url(b"\1" * 32))) == "the numbers of a key are no key"


@pytest.mark.parametrize(
    "changes",
    [
        {"alg": "ES256"},
        {"alg": "EdDSA"},
        {"alg": 1},
        {"use": 1},
        {"key_ops": "verify"},
        {"kid": 1},
        {"kid": ""},
        {"kid": "x" * 257},
    ],
)
def test_a_key_that_contradicts_itself_is_refused(changes: dict[str, Any]) -> None:
    """RFC 8725 section 3.1: `alg` fits `kty`; members are of their types."""
    assert problem(jwk_of("RS256", **changes))


def test_what_is_no_object_is_no_key() -> None:
    """A list, a text or null among the keys is an error of the file."""
    assert {problem(value) for value in list[object]((None, [], "x", 1))} == {
        "a member of `keys` is not an object"
    }


def rsa_key(bits: int, exponent: int = 65537) -> rsa.RSAPublicKey:
    """An RSA public key of this size, never used to sign."""
    return rsa.RSAPublicNumbers(exponent, (1 << (bits - 1)) + 2**64 + 1).public_key()


@pytest.mark.parametrize("bits", [1024, 2047, 8193, 16384])
def test_rsa_keys_have_a_sane_size(bits: int) -> None:
    """RFC 7518 section 3.3 (at least 2048); a huge one would let each junk token cost milliseconds."""
    with pytest.raises(KeyProblem, match=f"{bits} bits"):
        algorithms_of(rsa_key(bits))


def test_an_rsa_key_with_a_huge_exponent_is_refused() -> None:
    """Verifying costs by its length."""
    with pytest.raises(KeyProblem, match="exponent"):
        algorithms_of(rsa_key(2048, 2**40 + 1))


def test_a_roca_key_is_refused() -> None:
    """CVE-2017-15361: a modulus that is a power of 65537 modulo every small prime was made by the broken library."""
    primorial = 1
    for prime in (n for n in range(2, 168) if all(n % d for d in range(2, n))):
        primorial *= prime
    modulus = pow(65537, 99, primorial) + primorial * (2 ** (2048 - primorial.bit_length()) | 2)
    with pytest.raises(KeyProblem, match="ROCA"):
        algorithms_of(rsa.RSAPublicNumbers(65537, modulus).public_key())


def test_kinds_that_are_not_used_serve_nothing() -> None:
    """Other curves and key agreement verify no token."""
    assert algorithms_of(ec.generate_private_key(ec.SECP256K1()).public_key()) == frozenset()
    assert algorithms_of(x25519.X25519PrivateKey.generate().public_key()) == frozenset()
    assert algorithms_of(None) == frozenset()


def test_ed448_is_eddsa_and_not_ed25519() -> None:
    """RFC 8037 and RFC 9864: the old name covers both curves, the new one is exact."""
    jwk = public_jwk(ed448.Ed448PrivateKey.generate().public_key())
    vetted = vet_jwk(jwk)
    assert vetted is not None
    assert (jwk["crv"], vetted.algorithms) == ("Ed448", frozenset({"EdDSA"}))


def test_a_key_of_no_use_here_has_no_jwk() -> None:
    """What nobody could verify with is not published."""
    key = ec.generate_private_key(ec.SECP256K1()).public_key()
    with pytest.raises(KeyProblem):
        public_jwk(key)
