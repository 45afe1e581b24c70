"""One public key at a time: what a JWK (RFC 7517) or a key object must be before any token is verified with it.

Here a key is vetted and told which algorithms it may serve; sets of keys are `keys.py`'s.
The library's readers are lenient (facts 0.7), so every member is checked here before they see it.
"""

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from jwt.algorithms import Algorithm, ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from authproxy.authn.compact import MalformedToken, base64url

RSA_LEAST, RSA_MOST = 2048, 8192
EXPONENT_MOST = 2**32
KID_MOST = 256

PublicKey = RSAPublicKey | EllipticCurvePublicKey | Ed25519PublicKey | Ed448PublicKey

_RSA = frozenset({"RS256", "RS384", "RS512", "PS256", "PS384", "PS512"})
# RFC 7518 section 3.4 and RFC 8037: each curve serves exactly these. Ed25519 is RFC 9864's name of EdDSA on that curve.
_CURVES = {
    ("EC", "P-256"): frozenset({"ES256"}),
    ("EC", "P-384"): frozenset({"ES384"}),
    ("EC", "P-521"): frozenset({"ES512"}),
    ("OKP", "Ed25519"): frozenset({"EdDSA", "Ed25519"}),
    ("OKP", "Ed448"): frozenset({"EdDSA"}),
}
_EC_NAMES = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521"}
_OCTETS = {"P-256": 32, "P-384": 48, "P-521": 66, "Ed25519": 32, "Ed448": 57}
_COORDINATES = {"RSA": ("n", "e"), "EC": ("x", "y"), "OKP": ("x",)}
_READERS: dict[str, type[RSAAlgorithm | ECAlgorithm | OKPAlgorithm]] = {
    "RSA": RSAAlgorithm,
    "EC": ECAlgorithm,
    "OKP": OKPAlgorithm,
}
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})
SIGNATURES = _RSA.union(*_CURVES.values())
# What is left of a JWK that was vetted: it may verify, and certificates beside it are not looked at.
MEMBERS = ("kty", "crv", "x", "y", "n", "e", "kid", "alg")

# CVE-2017-15361 (ROCA): the weak library's moduli are powers of 65537 modulo every small prime; a fair key passes
# for one with a chance under 2^-100.
_PRIMES = tuple(n for n in range(3, 168) if all(n % d for d in range(2, n)))
_ROCA = tuple((p, frozenset(pow(65537, i, p) for i in range(p))) for p in _PRIMES)


class KeyProblem(ValueError):  # noqa: N818  # a problem of the operator, as model.errors says
    """Why a key cannot be used: `text` says what is wrong, `remedy` what to do. Both hold nothing of the key."""

    def __init__(self, text: str, remedy: str) -> None:
        super().__init__(f"{text} — {remedy}")
        self.text = text
        self.remedy = remedy


class SecretPublished(KeyProblem):
    """A secret or a private key stands where only public ones may."""


@dataclass(frozen=True, slots=True)
class VettedKey:
    """A public key that may verify signatures of these algorithms."""

    kid: str | None
    key: PublicKey
    algorithms: frozenset[str]


def algorithm_named(name: str) -> Algorithm:
    """The library's implementation of a JWS algorithm; `Ed25519` (RFC 9864), which it does not know, is its EdDSA."""
    return OKPAlgorithm() if name == "Ed25519" else jwt.get_algorithm_by_name(name)


def vet_rsa(key: RSAPublicKey) -> None:
    """RFC 7518 section 3.3: at least 2048 bits. At most 8192: verifying costs by the square of it."""
    numbers = key.public_numbers()
    if not RSA_LEAST <= key.key_size <= RSA_MOST:
        raise KeyProblem(
            f"an RSA key has {key.key_size} bits", f"use one of {RSA_LEAST} to {RSA_MOST} bits"
        )
    if numbers.e >= EXPONENT_MOST:
        raise KeyProblem("an RSA key has a very large exponent", "make a new key; 65537 is usual")
    if all(numbers.n % prime in powers for prime, powers in _ROCA):
        raise KeyProblem(
            "an RSA key was made by a broken generator (ROCA, CVE-2017-15361)", "make a new key"
        )


def algorithms_of(key: object) -> frozenset[str]:
    """The algorithms whose signatures a public key can verify; none for a kind that is not used here.

    Raises:
        KeyProblem: it is an RSA key too weak or too costly.
    """
    if isinstance(key, RSAPublicKey):
        vet_rsa(key)
        return _RSA
    if isinstance(key, EllipticCurvePublicKey):
        return _CURVES.get(("EC", _EC_NAMES.get(key.curve.name, "")), frozenset())
    if isinstance(key, Ed25519PublicKey):
        return _CURVES["OKP", "Ed25519"]
    return _CURVES["OKP", "Ed448"] if isinstance(key, Ed448PublicKey) else frozenset()


def _check_secrets(jwk: Mapping[str, Any]) -> None:
    # CVE-2026-48526: a symmetric key beside public ones is how a public key comes to pass for a secret.
    if jwk.get("kty") == "oct":
        raise SecretPublished(
            "a symmetric key (`oct`) stands in a public key set",
            "remove it; HS* takes `keys: {secret: …}`",
        )
    if not _PRIVATE.isdisjoint(jwk):
        raise SecretPublished(
            "a private key stands in a public key set",
            "take it out, and replace it: it may have been read",
        )


def _verifies(jwk: Mapping[str, Any]) -> bool:
    """RFC 7517 sections 4.2 and 4.3: both members, where there, must allow verifying."""
    use, operations = jwk.get("use", "sig"), jwk.get("key_ops", ["verify"])
    if not isinstance(use, str) or not isinstance(operations, list):
        raise KeyProblem(
            "`use` or `key_ops` of a key is not what RFC 7517 says", "mend the key set"
        )
    return use == "sig" and "verify" in operations


def _check_coordinates(jwk: Mapping[str, Any], kty: str, crv: Any) -> None:
    for member in _COORDINATES[kty]:
        text = jwk.get(member)
        try:
            value = base64url(text.encode()) if isinstance(text, str) else b""
        except (MalformedToken, UnicodeError):
            value = b""
        # RFC 7518 sections 6.2.1.2 (full length) and 6.3.1.1 (no leading zero octets).
        if (
            not value
            or (kty == "RSA" and value[0] == 0)
            or (kty != "RSA" and len(value) != _OCTETS[crv])
        ):
            raise KeyProblem(
                f"`{member}` of a key is missing or not written as RFC 7518 says",
                "mend the key set",
            )


def _kid(jwk: Mapping[str, Any]) -> str | None:
    kid = jwk.get("kid")
    if kid is None and "kid" not in jwk:
        return None
    if not isinstance(kid, str) or not 0 < len(kid) <= KID_MOST:
        raise KeyProblem("a `kid` is no string of 1 to 256 characters", "mend the key set")
    return kid


def _bound_to(jwk: Mapping[str, Any], able: frozenset[str]) -> frozenset[str]:
    """RFC 8725 section 3.1: a key that names its algorithm serves that one only; else all of its kind."""
    name = jwk.get("alg")
    if name is None and "alg" not in jwk:
        return able
    if name in able:
        return (
            frozenset({"EdDSA", "Ed25519"}) & able
            if name in {"EdDSA", "Ed25519"}
            else frozenset({name})
        )
    if name in SIGNATURES or not isinstance(name, str):
        raise KeyProblem("`alg` of a key does not fit its `kty` and `crv`", "mend the key set")
    return frozenset()  # RSA-OAEP and the like: not for signatures


def vet_jwk(jwk: object) -> VettedKey | None:
    """The key of a JWK; None where it is well-formed but for something else (RFC 7517 section 5: it is passed over).

    Raises:
        KeyProblem: it is secret, weak, malformed or contradicts itself.
    """
    if not isinstance(jwk, dict):
        raise KeyProblem("a member of `keys` is not an object", "mend the key set")
    _check_secrets(jwk)
    kty, crv, kid = jwk.get("kty"), jwk.get("crv"), _kid(jwk)
    if kty not in _READERS or not _verifies(jwk) or (kty != "RSA" and (kty, crv) not in _CURVES):
        return None
    _check_coordinates(jwk, kty, crv)
    try:
        key: Any = _READERS[kty].from_jwk(dict(jwk))
    except (jwt.InvalidKeyError, ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyProblem("the numbers of a key are no key", "mend the key set") from None
    algorithms = _bound_to(jwk, algorithms_of(key))
    return VettedKey(kid, key, algorithms) if algorithms else None


def thumbprint_of(jwk: Mapping[str, Any]) -> str:
    """The thumbprint of a JWK (RFC 7638 section 3): SHA-256 over its required members, in base64url."""
    required = ("kty", "crv", *_COORDINATES[jwk["kty"]])
    members = {name: jwk[name] for name in sorted(required) if name in jwk}
    digest = hashlib.sha256(json.dumps(members, separators=(",", ":")).encode()).digest()
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def public_jwk(key: PublicKey, algorithms: Sequence[str] = ()) -> dict[str, str]:
    """A public key as a JWK with `kid` (its thumbprint), `use` and `alg` (the first of these that fits, else the usual).

    Raises:
        KeyProblem: no algorithm fits it.
    """
    able = algorithms_of(key)
    names = [
        name for name in (*algorithms, "RS256", "ES256", "ES384", "ES512", "EdDSA") if name in able
    ]
    if not names:
        raise KeyProblem(
            "no algorithm that is used here fits the key", "use RSA, P-256, P-384, P-521 or Ed25519"
        )
    full: dict[str, Any] = algorithm_named(names[0]).to_jwk(key, as_dict=True)
    jwk: dict[str, str] = {
        name: str(full[name]) for name in ("kty", "crv", "x", "y", "n", "e") if name in full
    }
    return {**jwk, "kid": thumbprint_of(jwk), "use": "sig", "alg": names[0]}
