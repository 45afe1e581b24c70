"""The keys of the assertion: which files are taken, what is published of them, and what is written back."""

import json
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from authproxy.authn.issue import generate_key, public_jwks
from authproxy.authn.jwk import KeyProblem
from authproxy.authn.keyring import KEYS_MOST, read_keyring, write_keyring
from tests.authn.tokens import pem_of

ONE, OTHER = pem_of("ES256", 1), pem_of("ES256", 2)
SECRETS = {"d", "p", "q", "dp", "dq", "qi", "k"}


def test_the_first_key_signs_and_all_are_published() -> None:
    """With `kid`, `use` and `alg`, and nothing private."""
    keyring = read_keyring(ONE + OTHER)
    assert keyring.current.kid == read_keyring(ONE).current.kid
    published = json.loads(keyring.jwks)
    assert published == public_jwks([ONE, OTHER], ["ES256"])
    for key in published["keys"]:
        assert (key["kty"], key["crv"], key["use"], key["alg"]) == ("EC", "P-256", "sig", "ES256")
        assert SECRETS.isdisjoint(key)


def test_a_key_as_openssl_makes_it() -> None:
    """`openssl ecparam -genkey` writes the curve before the key, which is in the older form."""
    pem = generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()
    )
    curve = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    assert len(read_keyring(curve + pem).keys) == 1


def test_what_is_written_is_read_again() -> None:
    """Keys, their roles and their times, to the second."""
    text = b"# current since 2026-01-31T12:00:00Z\n" + ONE + b"# next since 2026-02-01T00:00:00Z\n" + OTHER  # fmt: skip
    keyring = read_keyring(text)
    assert [(k.role, k.since) for k in keyring.keys] == [
        ("current", 1769860800.0),
        ("next", 1769904000.0),
    ]
    assert write_keyring(keyring.keys) == text


def test_a_version_is_of_what_is_signed_with_and_published() -> None:
    """Comments are none of it; order is."""
    one = read_keyring(ONE + OTHER).version
    assert read_keyring(b"ours\n" + ONE + b"# previous since 2026-01-31T12:00:00Z\n" + OTHER).version == one  # fmt: skip
    assert read_keyring(OTHER + ONE).version != one


def test_a_keyring_shows_no_key() -> None:
    """Neither its text nor that of a problem holds anything private."""
    secret = ONE.splitlines()[1].decode()
    assert secret not in repr(read_keyring(ONE))
    with pytest.raises(KeyProblem) as caught:
        read_keyring(ONE + ONE)
    assert secret not in str(caught.value)


def encrypted() -> bytes:
    """A key with a passphrase."""
    return generate_private_key(SECP256R1()).private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"p")
    )


def public() -> bytes:
    """A public key."""
    key = read_keyring(ONE).current.key.public_key()
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: b"", "no whole private key"),
        (lambda: b"no key", "no whole private key"),
        (lambda: b'{"keys": []}', "no whole private key"),
        (lambda: ONE[:-40], "no whole private key"),
        (lambda: ONE + OTHER[:-40], "no whole private key"),
        (public, "no private key"),
        (lambda: ONE + public(), "no private key"),
        (encrypted, "passphrase"),
        (lambda: ONE.replace(b"\nMIG", b"\nAAA"), "no private key"),
        (lambda: pem_of("ES384"), "P-256"),
        (lambda: pem_of("RS256"), "P-256"),
        (lambda: generate_key("EdDSA"), "P-256"),
        (lambda: ONE + pem_of("RS256"), "P-256"),
        (lambda: ONE + ONE, "twice"),
        (lambda: b"".join(generate_key("ES256") for _ in range(KEYS_MOST + 1)), "over 10"),
        (lambda: ONE + b" " * (64 << 10), "64 KiB"),
        (lambda: b"# next since 2026-13-31T12:00:00Z\n" + ONE, "time"),
    ],
)
def test_a_file_that_cannot_sign_is_refused(make: Callable[[], bytes], text: str) -> None:
    """Each with what is wrong and what to do."""
    with pytest.raises(KeyProblem) as caught:
        read_keyring(make())
    assert text in caught.value.text
    assert caught.value.remedy
