"""DPoP proofs good and bad for the tests, and tokens bound to the key that made them."""

import base64
import hashlib
from functools import cache
from itertools import count
from typing import Any

from authproxy.authn.issue import public_jwks
from authproxy.authn.jwk import thumbprint_of
from tests.authn.tokens import NOW, pem_of, private_key, sign, token

URI = "https://api.test/orders/1"
_numbers = count()


@cache
def jwk_of(algorithm: str = "ES256", number: int = 7) -> dict[str, str]:
    """The public half of a holder's key, with nothing in it but what it is."""
    jwk = public_jwks([pem_of(algorithm, number)], [algorithm])["keys"][0]
    return {name: jwk[name] for name in ("kty", "crv", "x", "y", "n", "e") if name in jwk}


def private_jwk() -> dict[str, Any]:
    """The holder's key with its private part, as no proof may show it."""
    number = private_key(pem_of("ES256", 7)).private_numbers().private_value
    d = base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
    return {**jwk_of(), "d": d}


def bound_token(algorithm: str = "ES256", number: int = 7, **claims: Any) -> str:
    """A good token that is bound to this key."""
    return token({"cnf": {"jkt": thumbprint_of(jwk_of(algorithm, number))}, **claims})


def hash_of(text: str) -> str:
    """What `ath` says of a token."""
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b"=").decode()


def proof(
    access: str,
    claims: dict[str, Any] | None = None,
    header: dict[str, Any] | None = None,
    *,
    algorithm: str = "ES256",
    number: int = 7,
    without: str = "",
    now: float = NOW,
) -> str:
    """A good proof for GET of `URI` with this access token, but for these claims and header members."""
    said = {
        "jti": f"proof-{next(_numbers)}", "htm": "GET", "htu": URI, "iat": int(now), "ath": hash_of(access),
        **(claims or {}),
    }  # fmt: skip
    head = {"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk_of(algorithm, number), **(header or {})}
    for members in (said, head):
        members.pop(without, None)
    return sign(head, said, algorithm, pem_of(algorithm, number))
