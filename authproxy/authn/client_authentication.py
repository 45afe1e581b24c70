"""How we prove to a provider which of its clients we are: by a secret, by a signed assertion, or not at all.

What is made here goes to the provider's token endpoint and nowhere else; no part of it is logged.
"""

import json
import secrets
from abc import ABC, abstractmethod
from base64 import b64encode
from collections.abc import Mapping
from urllib.parse import quote_plus

from jwt import PyJWS

from authproxy.authn.issue import load_private_key
from authproxy.authn.jwk import KeyProblem, algorithm_named, algorithms_of, public_jwk
from authproxy.config.authenticators import OidcLogin

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"  # RFC 7523 section 2.2
ASSERTION_SECONDS = 60
# The first that fits a key is what it signs with.
SIGNED_WITH = ("RS256", "ES256", "ES384", "ES512", "EdDSA")

Fields = dict[str, str]


class ClientAuthentication(ABC):
    """The client `client_id` towards its provider."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id

    @abstractmethod
    def prove(self, audience: str, now: float) -> tuple[Fields, Fields]:
        """The fields of the form and of the head that prove it to the token endpoint of this issuer."""


class PublicClient(ClientAuthentication):
    """No secret: PKCE alone ties the code to us (RFC 6749 section 3.2.1)."""

    def prove(self, _audience: str, _now: float) -> tuple[Fields, Fields]:
        return {"client_id": self.client_id}, {}


class BasicSecret(ClientAuthentication):
    """`client_secret_basic` (RFC 6749 section 2.3.1): both parts are form-encoded before they are joined."""

    def __init__(self, client_id: str, secret: str) -> None:
        super().__init__(client_id)
        pair = f"{quote_plus(client_id)}:{quote_plus(secret)}"
        self._field = "Basic " + b64encode(pair.encode()).decode()

    def prove(self, _audience: str, _now: float) -> tuple[Fields, Fields]:
        return {}, {"Authorization": self._field}


class PostedSecret(ClientAuthentication):
    """`client_secret_post`."""

    def __init__(self, client_id: str, secret: str) -> None:
        super().__init__(client_id)
        self._secret = secret

    def prove(self, _audience: str, _now: float) -> tuple[Fields, Fields]:
        return {"client_id": self.client_id, "client_secret": self._secret}, {}


class SignedAssertion(ClientAuthentication):
    """`private_key_jwt` (RFC 7523 section 3, OpenID Connect Core section 9): good once, for a minute, for one issuer.

    Raises:
        KeyProblem: the PEM is no private key that can sign.
    """

    def __init__(self, client_id: str, pem: bytes) -> None:
        super().__init__(client_id)
        self._key = load_private_key(pem)
        able = algorithms_of(self._key.public_key())
        fitting = [name for name in SIGNED_WITH if name in able]
        if not fitting:
            raise KeyProblem(
                "this key cannot sign for a client", "use RSA, P-256, P-384, P-521 or Ed25519"
            )
        self._algorithm = fitting[0]
        self._signing = PyJWS(algorithms=[])
        self._signing.register_algorithm(self._algorithm, algorithm_named(self._algorithm))
        self._header = {"typ": "JWT", "kid": public_jwk(self._key.public_key())["kid"]}

    def prove(self, audience: str, now: float) -> tuple[Fields, Fields]:
        claims: Mapping[str, str | int] = {
            "iss": self.client_id,
            "sub": self.client_id,
            "aud": audience,
            "jti": secrets.token_urlsafe(16),
            "iat": int(now),
            "exp": int(now) + ASSERTION_SECONDS,
        }
        text = json.dumps(claims, separators=(",", ":"))
        signed = self._signing.encode(
            text.encode(), self._key, self._algorithm, headers=dict(self._header)
        )
        form = {"client_id": self.client_id, "client_assertion_type": ASSERTION}
        return {**form, "client_assertion": signed}, {}


def client_of(settings: OidcLogin, secret: str, pem: bytes) -> ClientAuthentication:
    """The client that the configuration describes, with its secret and its key read (empty where there is none).

    Raises:
        KeyProblem: the key cannot sign.
    """
    how, client_id = settings.authentication, settings.client_id
    if how == "basic":
        return BasicSecret(client_id, secret)
    if how == "post":
        return PostedSecret(client_id, secret)
    return SignedAssertion(client_id, pem) if how == "private_key_jwt" else PublicClient(client_id)
