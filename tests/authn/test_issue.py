"""Keys and test tokens of our own making are taken by our own authenticators."""

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authproxy.authn.authenticator import Credential
from authproxy.authn.compact import MalformedToken
from authproxy.authn.issue import generate_key, inspect, public_jwks, sign_test_token
from authproxy.authn.jwk import KeyProblem
from authproxy.config.authenticators import ASYMMETRIC, SYMMETRIC
from authproxy.model.identity import Identity
from tests.authn.tokens import (
    ALGORITHMS,
    NOW,
    key_for,
    keys_for,
    private_key,
    settings,
    token,
    verifier,
)


def issue(algorithm: str = "RS256", pem: bytes | None = None, **options: Any) -> str:
    """A test token for `verifier(algorithm)`."""
    changes = options.pop("settings", {})
    arguments: dict[str, Any] = {"subject": "alice", "now": NOW, **options}
    return sign_test_token(settings(algorithm, **changes), pem or key_for(algorithm), **arguments)


def taken(text: str, algorithm: str = "RS256", **changes: Any) -> Identity:
    """The identity that the authenticator makes of it."""
    identity = verifier(algorithm, **changes).verify(Credential(text), NOW)
    assert identity is not None
    return identity


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_test_token_is_taken(algorithm: str) -> None:
    """For every algorithm: made with the key, verified with its JWKS."""
    text = issue(algorithm, groups=["eng"], scopes=["a", "b"], claims={"tenant": "acme"}, ttl=60)
    identity = taken(text, algorithm)
    assert (identity.subject, identity.groups, identity.scopes) == (
        "alice",
        ("eng",),
        frozenset({"a", "b"}),
    )
    assert (identity.claims["tenant"], identity.issued_at, identity.expires_at) == (
        "acme",
        NOW,
        NOW + 60,
    )
    assert len(identity.credential_id) == 22


def test_the_header_names_the_key() -> None:
    """`typ`, `alg` and the `kid` under which the JWKS publishes the key."""
    kid = public_jwks([key_for("ES256")])["keys"][0]["kid"]
    assert inspect(issue("ES256"))["header"] == {"alg": "ES256", "kid": kid, "typ": "JWT"}


def test_claims_go_where_the_authenticator_looks() -> None:
    """Renamed and dotted claims as well."""
    names = {"subject": "uid", "groups": "realm_access.roles", "scopes": "realm_access.scp"}
    text = issue(groups=["r"], scopes=["s"], settings={"claims": names})
    identity = taken(text, claims=names)
    assert (identity.subject, identity.groups, identity.scopes) == (
        "alice",
        ("r",),
        frozenset({"s"}),
    )


def test_claims_may_replace_any_other() -> None:
    """A test may want a token that is wrong."""
    claims = inspect(issue(audience="other", claims={"exp": 1, "sub": None, "name": "Ä"}))["claims"]
    assert (claims["aud"], claims["exp"], claims["sub"], claims["name"]) == ("other", 1, None, "Ä")


def test_each_token_has_its_own_jti() -> None:
    """Revoking one leaves the others."""
    assert inspect(issue())["claims"]["jti"] != inspect(issue())["claims"]["jti"]


def test_the_algorithm_is_the_first_that_fits_the_key() -> None:
    """Several may be configured; the key decides."""
    chosen = inspect(
        issue(pem=key_for("ES256"), settings={"algorithms": ["RS256", "EdDSA", "ES256"]})
    )
    assert chosen["header"]["alg"] == "ES256"


@pytest.mark.parametrize(
    "pem", [b"", b"junk", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"]
)
def test_a_file_that_is_no_key_is_a_problem(pem: bytes) -> None:
    """One sentence and a remedy, no exception of the library."""
    with pytest.raises(KeyProblem):
        sign_test_token(settings(), pem, subject="a", now=NOW)
    with pytest.raises(KeyProblem):
        public_jwks([pem])


def test_a_key_that_fits_no_algorithm_is_a_problem() -> None:
    """Neither another kind, nor one with a passphrase, nor one too weak."""
    locked = private_key(key_for("RS256")).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"p")
    )
    weak = rsa.generate_private_key(65537, 1024)
    weak_pem = weak.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    for pem in (key_for("ES256"), locked, weak_pem):
        with pytest.raises(KeyProblem):
            issue(pem=pem)
    with pytest.raises(KeyProblem):
        issue("HS256", pem=b"short")


@pytest.mark.parametrize("algorithm", ASYMMETRIC)
def test_a_jwks_holds_nothing_secret(algorithm: str) -> None:
    """Public members, `use: sig`, the thumbprint as `kid`; the same from the private and from the public key."""
    pem = key_for(algorithm)
    public = (
        private_key(pem).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (jwk,) = public_jwks([pem], [algorithm])["keys"]
    assert set(jwk) <= {"kty", "crv", "x", "y", "n", "e", "kid", "use", "alg"}
    assert (jwk["use"], jwk["alg"], len(jwk["kid"])) == ("sig", algorithm, 43)
    assert public_jwks([public], [algorithm])["keys"] == [jwk]


def test_the_usual_algorithm_is_named_where_none_is_wished() -> None:
    """RS256, ES256 and its sisters, EdDSA."""
    kinds = ["RS256", "ES256", "ES384", "ES512", "EdDSA"]
    assert [jwk["alg"] for jwk in public_jwks(map(key_for, kinds))["keys"]] == kinds
    assert json.dumps(public_jwks([key_for("RS256")], ["ES256", "PS256"])).count("PS256") == 1


@pytest.mark.parametrize("algorithm", SYMMETRIC)
def test_a_generated_secret_is_long_enough(algorithm: str) -> None:
    """64 random bytes serve the longest hash, and no two are alike."""
    assert keys_for(algorithm).candidates(algorithm, None)
    assert generate_key(algorithm) != generate_key(algorithm)


def test_inspecting_believes_nothing() -> None:
    """Header and claims are shown as unverified; what is no token is said to be none."""
    shown = inspect(token({"aud": "x"}, pem=key_for("RS256", 1)))
    assert (shown["verified"], shown["header"]["alg"], shown["claims"]["aud"]) == (
        False,
        "RS256",
        "x",
    )
    with pytest.raises(MalformedToken):
        inspect("junk")
