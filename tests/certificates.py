"""Authorities and certificates of any content, made without the program's own code; files where TLS wants files."""

import datetime as dt
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Pair:
    """A certificate and its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        """The certificate's bytes."""
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        """The certificate as text."""
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def write(self, folder: Path, stem: str) -> tuple[Path, Path]:
        """Both as files in a folder, in place of those that are there by a rename, as careful programs do it."""
        paths = folder / f"{stem}.crt", folder / f"{stem}.key"
        key = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        for path, text in zip(paths, (self.pem, key), strict=True):
            new = path.with_suffix(".new")
            new.write_text(text)
            new.rename(path)
        return paths


def name(*common: str) -> x509.Name:
    """A name with these CNs."""
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text) for text in common])


def authority(common: str = "authority", signer: Pair | None = None) -> Pair:
    """A certificate authority, its own issuer unless somebody signs it."""
    return issue(signer, name(common), constraints=x509.BasicConstraints(ca=True, path_length=None))


def issue(
    signer: Pair | None,
    subject: x509.Name,
    alternative: Sequence[x509.GeneralName] = (),
    *,
    constraints: x509.BasicConstraints | None = None,
    begins: dt.datetime | None = None,
    ends: dt.datetime | None = None,
) -> Pair:
    """A certificate signed by `signer`, by itself where there is none; good from yesterday to tomorrow."""
    key, now = ec.generate_private_key(ec.SECP256R1()), dt.datetime.now(dt.UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(signer.certificate.subject if signer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins or now - DAY)
        .not_valid_after(ends or now + DAY)
    )
    if alternative:
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    if constraints is not None:
        builder = builder.add_extension(constraints, critical=True)
    return Pair(builder.sign(signer.key if signer else key, hashes.SHA256()), key)


def server(signer: Pair, *names: str) -> Pair:
    """A server's certificate for these DNS names."""
    return issue(signer, name(names[0]), [x509.DNSName(n) for n in names])


def client_context(
    trusted: Pair, shown: tuple[Path, Path] | None = None, **wishes: ssl.TLSVersion
) -> ssl.SSLContext:
    """A TLS client that trusts this authority and shows this certificate; `wishes` are attributes of the context."""
    context = ssl.create_default_context(cadata=trusted.pem)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # authorities of tests have no key identifiers
    if shown is not None:
        context.load_cert_chain(*shown)
    for attribute, value in wishes.items():
        setattr(context, attribute, value)
    return context
