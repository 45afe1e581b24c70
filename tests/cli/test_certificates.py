"""Certificates that strict verifiers take."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.verification import PolicyBuilder, Store

from authproxy.cli.certificates import (
    LOCAL_NAMES,
    SERVER_DAYS,
    CertificateProblem,
    Pair,
    alternative_name,
    make_authority,
    make_server,
    names_of,
)

NOW = datetime.now(UTC).replace(microsecond=0)


@pytest.fixture(scope="module")
def authority() -> Pair:
    return make_authority(NOW)


def load(pair: Pair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


@pytest.mark.parametrize("name", [*LOCAL_NAMES, "app.example.test"])
def test_verifies_for_every_name(authority: Pair, name: str) -> None:
    """A verifier as strict as the Web's takes the certificate for each of its names and addresses."""
    server = load(make_server(authority, [*LOCAL_NAMES, "App.example.test"], NOW, SERVER_DAYS))
    verifier = PolicyBuilder().store(Store([load(authority)])).time(NOW)
    subject = alternative_name(name)
    assert verifier.build_server_verifier(subject).verify(server, [])


def test_good_for_825_days_at_most(authority: Pair) -> None:
    """A server certificate is not good for longer than Apple's clients take."""
    server = load(make_server(authority, ["localhost"], NOW, SERVER_DAYS))
    assert server.not_valid_after_utc - server.not_valid_before_utc <= timedelta(days=825)


def test_never_longer_than_its_authority(authority: Pair) -> None:
    """Near the authority's end the server certificate ends with it."""
    late = load(authority).not_valid_after_utc - timedelta(days=3)
    server = load(make_server(authority, ["localhost"], late, 30))
    assert server.not_valid_after_utc == load(authority).not_valid_after_utc


def test_authorities_have_names_of_their_own() -> None:
    """Two authorities in one trust store can be told apart by their subjects."""
    assert load(make_authority(NOW)).subject != load(make_authority(NOW)).subject


def test_the_authority_signs_no_authorities(authority: Pair) -> None:
    """Its constraint forbids intermediate authorities."""
    found = load(authority).extensions.get_extension_for_class(x509.BasicConstraints)
    assert found.critical
    assert (found.value.ca, found.value.path_length) == (True, 0)


def test_names_are_read_back(authority: Pair) -> None:
    """names_of gives what the certificate was made for, each name once."""
    server = make_server(authority, ["localhost", "::1", "localhost", "*.a.test"], NOW, 1)
    assert names_of(server.certificate) == ["localhost", "::1", "*.a.test"]


@pytest.mark.parametrize(
    "text", ["", "a..b", "-a", "a b", "*.", "a.*.b", "münchen.test", "1.2.3", "a/b", "x" * 64]
)
def test_what_is_no_name(text: str) -> None:
    """A name that no client could ask for is refused, with what to write instead."""
    with pytest.raises(CertificateProblem, match=r"write it|write app"):
        alternative_name(text)


def test_an_authority_that_cannot_sign(authority: Pair) -> None:
    """A key of another authority, of a kind that signs no TLS, or no PEM at all is refused, and an expired one."""
    other = ed25519.Ed25519PrivateKey.generate()
    strange = other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    after = load(authority).not_valid_after_utc + timedelta(days=1)
    for key, now, words in (
        (make_authority(NOW).private_key, NOW, "does not belong"),
        (strange, NOW, "does not belong"),
        (b"nothing", NOW, "not PEM"),
        (authority.private_key, after, "expired"),
    ):
        with pytest.raises(CertificateProblem, match=words):
            make_server(Pair(authority.certificate, key), ["localhost"], now, 1)


def test_names_of_what_is_no_certificate() -> None:
    """A file that is no certificate is refused in words."""
    with pytest.raises(CertificateProblem, match="no certificate"):
        names_of(b"hello")
