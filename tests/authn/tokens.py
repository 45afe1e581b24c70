"""Tokens good and bad for the tests: any header and any payload, rightly signed, at one fixed moment."""

import base64
import json
from functools import cache
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authproxy.authn.authenticator import Credential
from authproxy.authn.bearer import JwtVerifier
from authproxy.authn.issue import generate_key, public_jwks
from authproxy.authn.jwk import algorithm_named
from authproxy.authn.keys import KeySet, load_key_set, secret_key_set
from authproxy.config.authenticators import ASYMMETRIC, SYMMETRIC, JwtAuthenticator
from authproxy.config.values import Secret
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.state.memory import MemoryStore
from authproxy.state.store import Store

NOW = 1_800_000_000.0
ISSUER = "https://issuer.test"
ALGORITHMS = (*ASYMMETRIC, *SYMMETRIC)
CLAIMS: dict[str, Any] = {
    "iss": ISSUER,
    "aud": "api",
    "sub": "alice",
    "exp": NOW + 3600,
    "jti": "j-1",
}
Json = dict[str, Any] | bytes


@cache
def pem_of(kind: str, number: int = 0) -> bytes:
    """The private key for algorithms of this kind, made once a session; another number is another key."""
    return generate_key(kind)


def key_for(algorithm: str, number: int = 0) -> bytes:
    """One RSA key serves all of RSA, so that few are made."""
    return pem_of("RS256" if algorithm[:2] in {"RS", "PS"} else algorithm, number)


@cache
def private_key(pem: bytes) -> Any:
    """The key in a PEM file, read once: reading checks its primes."""
    return load_pem_private_key(pem, None)


def base64url(data: bytes) -> str:
    """Base64url without padding."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def as_json(value: Json) -> bytes:
    """The bytes as they are; a dict as JSON (NaN included: a test may want it)."""
    return value if isinstance(value, bytes) else json.dumps(value).encode()


def sign(header: Json, payload: Json, algorithm: str = "RS256", pem: bytes | None = None) -> str:
    """A compact token with this very header and payload, rightly signed whatever they say."""
    signed = f"{base64url(as_json(header))}.{base64url(as_json(payload))}"
    pem = key_for(algorithm) if pem is None else pem
    key = pem if algorithm in SYMMETRIC else private_key(pem)
    return f"{signed}.{base64url(algorithm_named(algorithm).sign(signed.encode(), key))}"


def token(
    claims: dict[str, Any] | None = None,
    header: dict[str, Any] | None = None,
    algorithm: str = "RS256",
    without: str = "",
    pem: bytes | None = None,
) -> str:
    """A good token, but for these claims, these header members and the claim that is left out."""
    payload = {
        name: value for name, value in {**CLAIMS, **(claims or {})}.items() if name != without
    }
    return sign({"typ": "JWT", "alg": algorithm, **(header or {})}, payload, algorithm, pem)


def settings(algorithm: str = "RS256", **changes: Any) -> JwtAuthenticator:
    """Settings for one algorithm."""
    keys: dict[str, Any] = {"secret": Secret(file="s")} if algorithm in SYMMETRIC else {"file": "k"}
    values = {"issuer": ISSUER, "audiences": ["api"], "algorithms": [algorithm], "keys": keys}
    return JwtAuthenticator.model_validate({"type": "jwt", **values, **changes})


@cache
def keys_for(algorithm: str, number: int = 0) -> KeySet:
    """The key set that verifies `sign(..., algorithm)`."""
    pem = key_for(algorithm, number)
    if algorithm in SYMMETRIC:
        return secret_key_set(pem, [algorithm])
    return load_key_set(as_json(public_jwks([pem], [algorithm])), [algorithm])


def verifier(
    algorithm: str = "RS256",
    name: str = "tokens",
    keys: KeySet | None = None,
    token_bytes: int = 8192,
    profile: str = "forwarded",
    store: Store | None = None,
    **changes: Any,
) -> JwtVerifier:
    """An authenticator that takes `token()`."""
    keys = keys_for(algorithm) if keys is None else keys
    render = IdentityProfile(profile).render
    return JwtVerifier(
        name, settings(algorithm, **changes), keys, token_bytes, render, store or MemoryStore()
    )


@cache
def plain_verifier() -> JwtVerifier:
    """The authenticator that takes `token()`, made once."""
    return verifier()


def verdict(text: str, judge: JwtVerifier | None = None, now: float = NOW) -> str:
    """`accepted`, `not-mine`, or the code and reason of the refusal."""
    try:
        identity = (judge or plain_verifier()).verify(Credential(text), now)
    except Refusal as refusal:
        return f"{refusal.code} {refusal.reason}"
    return "accepted" if identity is not None else "not-mine"


def payload_with(text: bytes) -> bytes:
    """The payload of a good token with this JSON text added before its end."""
    return json.dumps(CLAIMS).encode()[:-1] + b"," + text + b"}"


def signed_payload(payload: bytes) -> str:
    """A rightly signed token with this payload."""
    return sign({"alg": "RS256", "typ": "JWT"}, payload)
