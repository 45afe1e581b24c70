"""Makes certificates: an authority of one's own, and what it signs for servers and clients. Bytes in, bytes out, no files.

They are what strict verifiers take (RFC 5280; OpenSSL's X509_STRICT): key identifiers, critical constraints, key usage.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import ip_address

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.asymmetric.types import CertificateIssuerPrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY_DAYS = 3650
BACKDATED = timedelta(hours=1)  # other machines' clocks may be behind; it counts among the days
SERVER_DAYS = 825  # clients of Apple take no certificate that is good for longer
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,2000}")
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")


class CertificateProblem(ValueError):  # noqa: N818  # a problem of the operator, as model.errors says
    """The authority or a name cannot be used; the text says why."""


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its private key (PKCS #8), both PEM."""

    certificate: bytes
    private_key: bytes


def make_authority(now: datetime) -> Pair:
    """A new authority; it signs certificates of servers and clients, never other authorities."""
    key = ec.generate_private_key(ec.SECP256R1())
    # A serial number in the name keeps the authorities of several directories apart in a trust store.
    name = _name(f"authproxy CA {x509.random_serial_number() >> 128:08x}")
    builder = (
        _begin(name, name, key.public_key(), now, now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
    )
    return Pair(_pem(builder.sign(key, hashes.SHA256())), _private(key))


def make_server(authority: Pair, names: Sequence[str], now: datetime, days: int) -> Pair:
    """A new server certificate for these names and addresses, good for `days` and never longer than its authority.

    Raises:
        CertificateProblem: the authority cannot sign, or a name is none.
    """
    # The name in the subject is for people: clients look at the alternative names only (RFC 9525).
    subject, usage = _name("authproxy server"), ExtendedKeyUsageOID.SERVER_AUTH
    return _issue(authority, subject, _alternative_names(names), usage, now, days)


def make_client(authority: Pair, name: str, uris: Sequence[str], now: datetime, days: int) -> Pair:
    """A new client certificate: its CN is `name`, its alternative names are `uris`; good for servers of this authority.

    Raises:
        CertificateProblem: the authority cannot sign, or a URI is none.
    """
    alternative = x509.SubjectAlternativeName([uri_name(uri) for uri in uris]) if uris else None
    return _issue(authority, _name(name), alternative, ExtendedKeyUsageOID.CLIENT_AUTH, now, days)


def uri_name(text: str) -> x509.UniformResourceIdentifier:
    """A URI as certificates hold it (RFC 5280 section 4.2.1.6: absolute, ASCII).

    Raises:
        CertificateProblem: it is none.
    """
    if _URI.fullmatch(text) is None:
        raise CertificateProblem(f"{text[:80]!r} is no URI: write it like spiffe://acme.test/robot")
    return x509.UniformResourceIdentifier(text)


def _issue(
    authority: Pair,
    subject: x509.Name,
    alternative: x509.SubjectAlternativeName | None,
    usage: x509.ObjectIdentifier,
    now: datetime,
    days: int,
) -> Pair:
    ca, ca_key = _authority(authority, now)
    key = ec.generate_private_key(ec.SECP256R1())
    end = min(now - BACKDATED + timedelta(days=days), ca.not_valid_after_utc)
    builder = (
        _begin(subject, ca.subject, key.public_key(), now, end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        .add_extension(_authority_key(ca), critical=False)
    )
    if alternative is not None:
        builder = builder.add_extension(alternative, critical=False)
    return Pair(_pem(builder.sign(ca_key, hashes.SHA256())), _private(key))


def names_of(certificate: bytes) -> list[str]:
    """The names and addresses that a PEM certificate is for.

    Raises:
        CertificateProblem: it is none.
    """
    try:
        found = x509.load_pem_x509_certificate(certificate).extensions
        names = found.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    except ValueError:
        raise CertificateProblem("this is no certificate in PEM") from None
    return [str(name.value) for name in names]


def alternative_name(text: str) -> x509.DNSName | x509.IPAddress:
    """A host name (`*.` may begin it) or an address, as certificates hold it.

    Raises:
        CertificateProblem: it is neither.
    """
    try:
        return x509.IPAddress(ip_address(text))
    except ValueError:
        pass
    labels = text.removeprefix("*.").split(".")
    if not all(_is_label(label) for label in labels) or len(text) > 253:
        hint = (
            "write it in its xn-- form" if not text.isascii() else "write app.example or 10.0.0.1"
        )
        raise CertificateProblem(f"{text[:80]!r} is no host name or address: {hint}")
    if all(label.isdigit() for label in labels):
        raise CertificateProblem(f"{text[:80]!r} is no address: write it like 10.0.0.1")
    return x509.DNSName(text.lower())


def _is_label(label: str) -> bool:
    bare = label.replace("-", "").replace("_", "")
    edges = not label.startswith("-") and not label.endswith("-")
    return bool(bare) and bare.isascii() and bare.isalnum() and edges and len(label) < 64


def _alternative_names(names: Sequence[str]) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName(list(dict.fromkeys(map(alternative_name, names))))


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begin(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    now: datetime,
    end: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(
    pair: Pair, now: datetime
) -> tuple[x509.Certificate, CertificateIssuerPrivateKeyTypes]:
    try:
        ca = x509.load_pem_x509_certificate(pair.certificate)
        key = load_pem_private_key(pair.private_key, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise CertificateProblem(
            "the authority's certificate or key is not PEM, or the key has a passphrase"
        ) from None
    if key.public_key() != ca.public_key():
        raise CertificateProblem("the authority's key does not belong to its certificate")
    if ca.not_valid_after_utc <= now:
        raise CertificateProblem("the authority has expired: move it away, and a new one is made")
    if not isinstance(key, ec.EllipticCurvePrivateKey | RSAPrivateKey):
        raise CertificateProblem("the authority's key is neither RSA nor ECDSA")
    return ca, key


def _authority_key(ca: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        known = ca.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = ca.public_key()
        assert isinstance(key, ec.EllipticCurvePublicKey | RSAPublicKey)
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(known)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(Encoding.PEM)


def _private(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
