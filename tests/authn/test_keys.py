"""Key sets: which key may verify which token, and which files are refused."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from authproxy.authn.issue import public_jwks
from authproxy.authn.jwk import SIGNATURES
from authproxy.authn.keys import (
    CANDIDATES_MOST,
    KeyProblem,
    load_key_set,
    load_published,
    secret_key_set,
)
from tests.authn.tokens import NOW, as_json, key_for, private_key, token, verdict, verifier

ALL = sorted(SIGNATURES)


def problem(data: bytes, *algorithms: str) -> str:
    """What is wrong with a key file."""
    with pytest.raises(KeyProblem) as caught:
        load_key_set(data, algorithms or ALL)
    assert caught.value.remedy
    return caught.value.text


def jwks(*keys: object) -> bytes:
    """A key set."""
    return json.dumps({"keys": keys}).encode()


def jwk(algorithm: str, number: int = 0, **changes: Any) -> dict[str, Any]:
    """A public key; None takes a member out."""
    members: dict[str, Any] = {
        **public_jwks([key_for(algorithm, number)], [algorithm])["keys"][0],
        **changes,
    }
    return {name: value for name, value in members.items() if value is not None}


def public_pem(algorithm: str, form: PublicFormat = PublicFormat.SubjectPublicKeyInfo) -> bytes:
    """The public key in PEM."""
    pem: bytes = private_key(key_for(algorithm)).public_key().public_bytes(Encoding.PEM, form)
    return pem


def certificate() -> bytes:
    """A certificate over the key of ES256, long expired."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "signer")])
    key = private_key(key_for("ES256"))
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1)
    builder = builder.not_valid_before(datetime(2020, 1, 1, tzinfo=UTC)).not_valid_after(
        datetime(2021, 1, 1, tzinfo=UTC)
    )
    return builder.sign(key, SHA256()).public_bytes(Encoding.PEM)


def test_a_kid_chooses_its_key() -> None:
    """A token that names a key is verified with that one, and one without `kid` with any of its algorithm."""
    one, two = jwk("ES256"), jwk("ES256", 1)
    keys = load_key_set(jwks(one, two), ["ES256"])
    assert [key.kid for key in keys.candidates("ES256", one["kid"])] == [one["kid"]]
    assert len(keys.candidates("ES256", None)) == 2
    assert keys.candidates("ES256", "unknown") == keys.candidates("ES384", one["kid"]) == ()


def test_keys_without_kid_serve_every_kid() -> None:
    """A PEM key has no name, so a token's `kid` cannot speak against it; a key of that name comes first."""
    named, nameless = jwk("ES256", kid="a"), jwk("ES256", 1, kid=None)
    keys = load_key_set(jwks(named, nameless), ["ES256"])
    assert [key.kid for key in keys.candidates("ES256", "a")] == ["a"]
    assert [key.kid for key in keys.candidates("ES256", "other")] == [None]


@pytest.mark.parametrize("form", [PublicFormat.SubjectPublicKeyInfo, PublicFormat.PKCS1])
def test_a_public_key_in_pem(form: PublicFormat) -> None:
    """Both PEM forms of an RSA key serve every configured algorithm of RSA."""
    keys = load_key_set(b"\n# a comment\n" + public_pem("RS256", form), ["RS256", "PS384"])
    for algorithm in ("RS256", "PS384"):
        judge = verifier(keys=keys, algorithms=["RS256", "PS384"])
        assert verdict(token(algorithm=algorithm, header={"kid": "any"}), judge) == "accepted"


def test_a_certificate_gives_its_key() -> None:
    """Its dates are not read: trust comes from the configuration that names it."""
    keys = load_key_set(certificate(), ["ES256"])
    assert verdict(token(algorithm="ES256"), verifier("ES256", keys=keys)) == "accepted"


def test_a_chain_is_refused() -> None:
    """The other certificates' keys belong to authorities and sign no tokens."""
    assert "more than one" in problem(certificate() * 2)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "EdDSA"])
def test_a_private_key_in_pem_is_refused(algorithm: str) -> None:
    """It has no business here, alone or beside the public one."""
    assert problem(key_for(algorithm)) == "this is a private key"
    assert problem(public_pem(algorithm) + key_for(algorithm)) == "this is a private key"


@pytest.mark.parametrize(
    "data",
    [
        b"", b"text", b"[]", b"ssh-rsa AAAA", b"\x30\x82", b"{", b"{}", b'{"keys":{}}', b'{"keys":[],"keys":[]}',
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----", b"-----BEGIN CERTIFICATE-----\nAAAA",
        b"{" + b" " * (1 << 20), b'{"keys":[]}', b'{"keys":[1]}',
    ],
)  # fmt: skip
def test_a_file_that_is_no_key_set_is_refused(data: bytes) -> None:
    """Whatever it is instead, there is one sentence about it and no other exception."""
    assert problem(data)


@given(
    st.binary(max_size=60) | st.binary(max_size=40).map(lambda data: b'{"keys":[' + data + b"]}")
)
def test_any_bytes_are_a_key_set_or_a_problem(data: bytes) -> None:
    """No file makes an exception of another kind."""
    assert problem(data)


def test_a_set_has_at_most_a_hundred_keys() -> None:
    """Facts 73: a larger one is somebody's mistake or attack."""
    keys = [jwk("ES256", kid=f"k{n}") for n in range(101)]
    assert load_key_set(jwks(*keys[:100]), ["ES256"]).candidates("ES256", "k99")
    assert "100" in problem(jwks(*keys))


def test_a_key_counts_once() -> None:
    """The size is the number of keys, with however many algorithms each is used; a secret is one."""
    both = load_key_set(
        jwks(jwk("RS256", 0, alg=None, kid="a"), jwk("RS256", 1, kid="b")), ["RS256", "PS256"]
    )
    assert both.size == 2
    assert secret_key_set(b"x" * 64, ["HS256", "HS512"]).size == 1


def test_two_keys_with_one_kid_are_refused() -> None:
    """Facts 0.7: which of them counts is anyone's guess; a key that does not verify does not count."""
    assert (
        problem(jwks(jwk("ES256", kid="a"), jwk("RS256", kid="a")))
        == "two keys have the same `kid`"
    )
    assert load_key_set(
        jwks(jwk("ES256", kid="a"), jwk("RS256", kid="a", use="enc")), ALL
    ).candidates("ES256", "a")


def test_one_bad_key_spoils_the_set() -> None:
    """A secret among public keys is a breach to be told of, though the others would do."""
    assert "symmetric" in problem(jwks(jwk("ES256"), {"kty": "oct", "k": "AAAA"}))
    assert "private" in problem(jwks(jwk("ES256"), jwk("RS256", d="AAAA")))


def test_keys_for_encryption_stand_beside_keys_for_signing() -> None:
    """Keycloak and others publish both; only those for signing are taken."""
    keys = load_key_set(jwks(jwk("RS256", use="enc", alg="RSA-OAEP"), jwk("ES256")), ALL)
    assert keys.candidates("RS256", None) == ()
    assert len(keys.candidates("ES256", None)) == 1


def test_a_set_that_serves_no_configured_algorithm_is_refused() -> None:
    """Better at start than at every request."""
    assert problem(jwks(jwk("ES256")), "RS256") == "no key in the file fits the algorithms"
    assert problem(public_pem("EdDSA"), "RS256") == "no key in the file fits the algorithms"
    assert problem(public_pem("RS256"), "HS256") == "no key in the file fits the algorithms"


def test_a_forged_token_is_tried_with_few_keys() -> None:
    """Without a `kid` at most 10 keys are tried; a larger set needs one in each token."""
    keys = [jwk("ES256", kid=f"k{n}") for n in range(CANDIDATES_MOST + 1)]
    assert len(load_key_set(jwks(*keys[:-1]), ALL).candidates("ES256", None)) == CANDIDATES_MOST
    assert load_key_set(jwks(*keys), ALL).candidates("ES256", None) == ()
    nameless = [jwk("ES256", kid=None)] * (CANDIDATES_MOST + 1)
    assert "have no `kid`" in problem(jwks(*nameless))


def test_the_version_follows_the_content() -> None:
    """Another content or other algorithms give another version, the same give the same."""
    one, two = jwks(jwk("ES256")), jwks(jwk("ES256", 1))
    versions = [
        load_key_set(one, ["ES256"]).version,
        load_key_set(two, ["ES256"]).version,
        load_key_set(one, ALL).version,
    ]
    assert len(set(versions)) == 3
    assert load_key_set(one, ["ES256"]).version == versions[0]


@pytest.mark.parametrize(("algorithm", "size"), [("HS256", 32), ("HS384", 48), ("HS512", 64)])
def test_a_secret_is_as_long_as_the_hash(algorithm: str, size: int) -> None:
    """RFC 7518 section 3.2, CVE-2025-45768: one byte less is refused."""
    assert secret_key_set(b"\x07" * size, [algorithm]).candidates(algorithm, "any")
    with pytest.raises(KeyProblem, match=f"at least {size} random bytes"):
        secret_key_set(b"\x07" * (size - 1), [algorithm])


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
def test_a_secret_is_no_public_key(algorithm: str) -> None:
    """CVE-2022-29217, CVE-2026-48526: a PEM file or a JWK as a secret is everybody's secret."""
    for secret in (
        public_pem(algorithm),
        key_for(algorithm),
        json.dumps(jwk(algorithm)).encode(),
        b"",
    ):
        with pytest.raises(KeyProblem):
            secret_key_set(secret, ["HS256"])


def test_a_secret_serves_hmac_only() -> None:
    """Asked for another algorithm it is refused, whatever the bytes are."""
    with pytest.raises(KeyProblem):
        secret_key_set(key_for("RS256"), ["RS256"])


def test_every_signature_is_checked_with_the_bound_algorithm() -> None:
    """A key knows its algorithm; the token's word for it is never asked."""
    (key,) = load_key_set(jwks(jwk("ES256")), ["ES256"]).candidates("ES256", None)
    signed = private_key(key_for("ES256")).sign(b"data", ec.ECDSA(SHA256()))
    assert not key.verify(b"data", signed)  # DER, not the form of RFC 7518
    assert not key.verify(b"data", as_json({"now": NOW}))


def published(*keys: object, algorithms: tuple[str, ...] = ("ES256",)) -> tuple[int, int]:
    """How many keys of an issuer's set serve, and how many are passed over with a word."""
    found = load_published(jwks(*keys), algorithms)
    return found.keys.size, len(found.passed_over)


@pytest.mark.parametrize(
    ("beside", "passed_over"),
    [
        ({"kty": "unheard-of"}, 0), ({"kty": "EC", "crv": "secp256k1", "x": "a", "y": "b"}, 0), ({}, 0),
        (jwk("RS256", use="enc"), 0), (jwk("RS256", alg="RSA-OAEP"), 0), (jwk("RS256", key_ops=["encrypt"]), 0),
        (jwk("RS256", alg=None, use=None, x5c=["junk"], x5t="junk"), 0), (7, 1), (jwk("ES256", 1, kid=7), 1),
        (jwk("ES256", 1, x="AA"), 1), (jwk("RS256", n="AQAB"), 1), (jwk("ES256", 1, alg="RS256"), 1),
        (jwk("ES256", 1, d="AAAA"), 1), ({"kty": "oct", "k": "c2VjcmV0"}, 1),
    ],
)  # fmt: skip
def test_an_issuer_may_publish_more_than_we_use(beside: object, passed_over: int) -> None:
    """RFC 7517 section 5: a key that cannot be used is passed over, and the one beside it serves."""
    assert published(jwk("ES256"), beside) == (1, passed_over)


def test_keys_of_one_name_are_all_tried() -> None:
    """Two keys of an issuer may share a `kid`, or have none: ten of them, not more, as each costs a forged token's time."""
    same = [jwk("ES256", number, kid="k") for number in range(2)]
    assert published(*same) == (2, 0)
    found = load_published(jwks(*same), ["ES256"]).keys
    for number in range(2):
        credential = token(algorithm="ES256", header={"kid": "k"}, pem=key_for("ES256", number))
        assert verdict(credential, verifier("ES256", keys=found)) == "accepted"
    nameless = jwk("ES256", kid=None)
    assert published(*[nameless] * CANDIDATES_MOST) == (CANDIDATES_MOST, 0)
    with pytest.raises(KeyProblem, match="share a `kid`"):
        published(*[nameless] * (CANDIDATES_MOST + 1))


def test_an_algorithm_of_the_key_is_bound_to_it() -> None:
    """A key without `alg` serves those of its kind that are configured, one with it that one only (RFC 8725 section 3.1)."""
    found = load_published(jwks(jwk("RS256", alg=None)), ["RS256", "PS256"]).keys
    kid = jwk("RS256")["kid"]
    assert found.candidates("RS256", kid)
    assert found.candidates("PS256", kid)
    assert found.candidates("RS512", kid) == ()
    bound = load_published(jwks(jwk("RS256")), ["RS256", "PS256"]).keys
    assert bound.candidates("PS256", kid) == ()


def test_what_is_kept_of_a_set_is_the_set() -> None:
    """What was reduced to its used part loads as the same version, whatever was around it and in which order."""
    keys = [jwk("ES256"), jwk("ES256", 1)]
    one = load_published(jwks(*keys), ["ES256"])
    other = load_published(
        jwks({"kty": "x"}, *[k | {"x5c": ["a"], "use": "sig"} for k in keys[::-1]]), ["ES256"]
    )
    again = load_published(one.jwks, ["ES256"], known=True)
    assert one.keys.version == other.keys.version == again.keys.version
    assert one.jwks == other.jwks == again.jwks
    assert load_published(one.jwks, ["ES256", "ES384"]).keys.version != one.keys.version
    bloated = load_published(jwks(keys[0] | {"key_ops": ["verify"] * 50_000}), ["ES256"])
    assert len(bloated.jwks) < 1000


def test_which_kid_a_set_names() -> None:
    """A token of a named key is not a token of an unknown one; one without a name names nothing."""
    found = load_published(jwks(jwk("ES256", kid="k")), ["ES256"]).keys
    assert found.names("ES256", "k")
    assert not found.names("ES384", "k")
    assert not found.names("ES256", None)
    assert not load_published(jwks(jwk("ES256", kid=None)), ["ES256"]).keys.names("ES256", "k")
