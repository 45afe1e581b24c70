"""How we prove to be the client: each way as its specification writes it, and no secret where none belongs."""

from base64 import b64decode

import jwt
import pytest

from authproxy.authn.client_authentication import ASSERTION, client_of
from authproxy.authn.issue import generate_key, load_private_key, public_jwks
from authproxy.authn.jwk import KeyProblem
from authproxy.config.authenticators import OidcLogin

NOW = 1_800_000_000.0
ISSUER = "https://id.test"


def settings(**changes: object) -> OidcLogin:
    return OidcLogin.model_validate(
        {"type": "oidc", "issuer": ISSUER, "client_id": "a b:c", **changes}
    )


SECRET = {"client_secret": {"env": "X"}}


def test_a_secret_in_the_head_is_encoded_first() -> None:
    """RFC 6749 section 2.3.1: a colon or a space in either part is not the one between them."""
    form, headers = client_of(settings(**SECRET), "s:e c+ret", b"").prove(ISSUER, NOW)
    assert form == {}
    pair = b64decode(headers["Authorization"].removeprefix("Basic "))
    assert pair == b"a+b%3Ac:s%3Ae+c%2Bret"


def test_a_secret_in_the_form_is_there_alone() -> None:
    """`client_secret_post`."""
    posted = settings(**SECRET, client_authentication="post")
    assert client_of(posted, "s", b"").prove(ISSUER, NOW) == (
        {"client_id": "a b:c", "client_secret": "s"},
        {},
    )


def test_a_public_client_says_who_it_is() -> None:
    """And nothing that would prove it."""
    public = settings(client_authentication="none")
    assert client_of(public, "", b"").prove(ISSUER, NOW) == ({"client_id": "a b:c"}, {})


@pytest.mark.parametrize("algorithm", ["RS256", "ES256", "ES384", "EdDSA"])
def test_an_assertion_is_signed_for_one_issuer_and_a_minute(algorithm: str) -> None:
    """RFC 7523 section 3; each has an id of its own, and the key is named by its thumbprint."""
    pem = generate_key(algorithm)
    client = client_of(settings(private_key={"file": "x"}), "", pem)
    form, headers = client.prove(ISSUER, NOW)
    assert (headers, form["client_assertion_type"]) == ({}, ASSERTION)
    token = form["client_assertion"]
    key = load_private_key(pem).public_key()
    claims = jwt.decode(
        token, key, [algorithm], audience=ISSUER, options={"verify_exp": False, "verify_iat": False}
    )
    assert (claims["iss"], claims["sub"], claims["exp"] - claims["iat"]) == ("a b:c", "a b:c", 60)
    assert claims["iat"] == int(NOW)
    assert jwt.get_unverified_header(token)["kid"] == public_jwks([pem])["keys"][0]["kid"]
    again = jwt.decode(client.prove(ISSUER, NOW)[0]["client_assertion"], options={"verify_signature": False})  # fmt: skip
    assert again["jti"] != claims["jti"]


def test_what_cannot_sign_is_said_at_load() -> None:
    """No key, or none that is used here."""
    with pytest.raises(KeyProblem):
        client_of(settings(private_key={"file": "x"}), "", b"nothing")
