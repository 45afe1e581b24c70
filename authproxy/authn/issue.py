"""Makes keys and test tokens, and shows what a token says. The operator's tools: no request comes near this.

A token made here is taken by the authenticator whose settings it was made from, or a KeyProblem says why there is none.
"""

import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_pem_public_key,
)
from jwt import PyJWS

from authproxy.authn.compact import parse
from authproxy.authn.jwk import KeyProblem, PublicKey, algorithm_named, algorithms_of, public_jwk
from authproxy.authn.keys import secret_key_set
from authproxy.config.authenticators import SYMMETRIC, JwtAuthenticator

_CURVES: dict[str, ec.EllipticCurve] = {
    "ES256": ec.SECP256R1(),
    "ES384": ec.SECP384R1(),
    "ES512": ec.SECP521R1(),
}


def generate_key(algorithm: str) -> bytes:
    """A new private key (PKCS #8, PEM) that can sign with this algorithm; for HS* a random secret of 64 bytes as text."""
    if algorithm in SYMMETRIC:
        return secrets.token_urlsafe(64).encode()
    key: PrivateKeyTypes
    if algorithm in _CURVES:
        key = ec.generate_private_key(_CURVES[algorithm])
    elif algorithm in {"EdDSA", "Ed25519"}:
        key = ed25519.Ed25519PrivateKey.generate()
    else:
        # 2048 bits last until 2030 (NIST SP 800-57) and verify in half the time of 3072.
        key = rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_private_key(pem: bytes) -> Any:
    """The private key of a PEM file.

    Raises:
        KeyProblem: there is none, or it is encrypted.
    """
    try:
        return load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise KeyProblem(
            "this is no private key in PEM, or it has a passphrase",
            "give an unencrypted PKCS #8 key",
        ) from None


def _public_key(pem: bytes) -> PublicKey:
    if b"PRIVATE KEY-----" in pem:
        key: PublicKey = load_private_key(pem).public_key()
        return key
    try:
        loaded: Any = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise KeyProblem("this is no key in PEM", "give a private or a public key") from None
    public: PublicKey = loaded
    return public


def public_jwks(
    pems: Iterable[bytes], algorithms: Sequence[str] = ()
) -> dict[str, list[dict[str, str]]]:
    """The JWKS of these keys, private or public ones, without their secrets.

    Each has `kid` (RFC 7638 thumbprint), `use: sig` and `alg`: the first of `algorithms` that fits it, else RS256,
    ES256/384/512 or EdDSA.

    Raises:
        KeyProblem: one of them is no key that is used here.
    """
    return {"keys": [public_jwk(_public_key(pem), algorithms) for pem in pems]}


def _signer(settings: JwtAuthenticator, pem: bytes) -> tuple[str, Any, dict[str, Any]]:
    """The algorithm, the key and the header for this key file."""
    if settings.algorithms[0] in SYMMETRIC:
        secret_key_set(pem, settings.algorithms[:1])
        return settings.algorithms[0], pem, {"typ": "JWT"}
    key = load_private_key(pem)
    able = algorithms_of(key.public_key())
    fitting = [name for name in settings.algorithms if name in able]
    if not fitting:
        wanted = ", ".join(settings.algorithms)
        raise KeyProblem(
            f"the signing key fits none of the algorithms ({wanted})", "give a key that does"
        )
    return fitting[0], key, {"typ": "JWT", "kid": public_jwk(key.public_key())["kid"]}


def _place(claims: dict[str, Any], path: str, value: Any) -> None:
    """Put a claim where the authenticator will look for it."""
    *outer, last = path.split(".")
    for name in outer:
        claims = claims.setdefault(name, {})
    claims[last] = value


def sign_test_token(
    settings: JwtAuthenticator,
    pem: bytes,
    *,
    subject: str,
    groups: Sequence[str] = (),
    scopes: Sequence[str] = (),
    audience: str | None = None,
    claims: Mapping[str, Any] | None = None,
    ttl: float = 3600,
    now: float,
) -> str:
    """A token that the authenticator of these settings takes, for `ttl` seconds from `now`.

    `pem` is the private key, for HS* the secret. `audience` None is the first configured one. `claims` come last: they
    may replace any other, `exp` as well.

    Raises:
        KeyProblem: the key cannot sign with any algorithm of the settings.
    """
    algorithm, key, header = _signer(settings, pem)
    payload: dict[str, Any] = {
        "iss": settings.issuer,
        "aud": audience or settings.audiences[0],
        "iat": int(now),
        "exp": int(now + ttl),
        "jti": secrets.token_urlsafe(16),
    }
    _place(payload, settings.claims.subject, subject)
    if groups:
        _place(payload, settings.claims.groups, list(groups))
    if scopes:
        _place(payload, settings.claims.scopes, " ".join(scopes))
    payload.update(claims or {})
    signing = PyJWS(algorithms=[])
    signing.register_algorithm(algorithm, algorithm_named(algorithm))
    text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return signing.encode(text.encode(), key, algorithm, headers=header)


def inspect(token: str) -> dict[str, Any]:
    """What a token says, believed by nobody: `{"verified": False, "header": …, "claims": …}`.

    Raises:
        MalformedToken: it is none.
    """
    parsed = parse(token)
    return {"verified": False, "header": dict(parsed.read_header()), "claims": parsed.read_claims()}
