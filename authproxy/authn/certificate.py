"""Who a client certificate names. That it is good (its chain, its purpose, its key) was the handshake's question, not ours.

It comes from the connection alone, never from a header. Where a certificate could be read as naming two callers, it names
none: it is `token_invalid`.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.x509.oid import NameOID

from authproxy.authn.authenticator import Authenticator, Credential, Render, fingerprint_of
from authproxy.authn.claims import holds_control, invalid
from authproxy.authn.slots import Presented
from authproxy.config.authenticators import CertificateAuthenticator
from authproxy.model.errors import Refusal
from authproxy.model.identity import Identity

BYTES_MOST = 16 << 10  # of a certificate; they have one or two KiB
KEPT = 1024


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says, its names in their own order; `fingerprint` is the SHA-256 of its DER in lower-case hex.

    `claims` are what policies see of it; `clean` says that no name in it holds a control character. Times are seconds
    since the epoch.
    """

    fingerprint: str
    common_names: tuple[str, ...]
    san_dns: tuple[str, ...]
    san_email: tuple[str, ...]
    san_uri: tuple[str, ...]
    not_before: float
    not_after: float
    clean: bool
    claims: dict[str, Any]

    def names(self, subject: str) -> tuple[str, ...]:
        """The values of the part that the configuration calls `subject`."""
        match subject:
            case "cn":
                return self.common_names
            case "san-dns":
                return self.san_dns
            case "san-email":
                return self.san_email
            case "san-uri":
                return self.san_uri
        return (self.fingerprint,)


@lru_cache(
    maxsize=KEPT
)  # a connection keeps the bytes, so this is one look at them for each connection
def read_certificate(der: bytes) -> Certificate | None:
    """The certificate; None where it is too long or cannot be read to its end, though OpenSSL could."""
    if len(der) > BYTES_MOST:
        return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # about serial numbers and the like: the authority's business
            return _read(x509.load_der_x509_certificate(der), sha256(der).hexdigest())
    except (ValueError, x509.DuplicateExtension, x509.UnsupportedGeneralNameType):
        return None


def _read(found: x509.Certificate, fingerprint: str) -> Certificate:
    common = tuple(
        _text(a.value) for a in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    )
    dns, email, uri = _alternative_names(found)
    not_before, not_after = (
        moment.timestamp() for moment in (found.not_valid_before_utc, found.not_valid_after_utc)
    )
    attributes = [
        str(attribute.value) for name in (found.subject, found.issuer) for attribute in name
    ]
    claims = {
        "subject": found.subject.rfc4514_string(),
        "issuer": found.issuer.rfc4514_string(),
        "serial": f"{found.serial_number:x}",
        "fingerprint": fingerprint,
        "common_names": list(common),
        "san_dns": list(dns),
        "san_email": list(email),
        "san_uri": list(uri),
        "not_before": int(not_before),
        "not_after": int(not_after),
    }
    # As they stand: the text of a whole name has a zero byte escaped.
    clean = not holds_control([*attributes, *dns, *email, *uri])
    return Certificate(fingerprint, common, dns, email, uri, not_before, not_after, clean, claims)


def _text(value: str | bytes) -> str:
    if isinstance(value, bytes):
        raise ValueError("a name that is a bit string")  # noqa: TRY004  # whoever reads it asks for one kind of error
    return value


def _alternative_names(
    found: x509.Certificate,
) -> tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]:
    """DNS names (lower case: RFC 9525 section 6.3 compares them so), e-mail addresses and URIs."""
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return (), (), ()
    return (
        tuple(name.lower() for name in names.get_values_for_type(x509.DNSName)),
        tuple(names.get_values_for_type(x509.RFC822Name)),
        tuple(names.get_values_for_type(x509.UniformResourceIdentifier)),
    )


class CertificateSlot:
    """The certificate of the handshake, for who is named by one part of it; a certificate without that part is as good as none."""

    __slots__ = ("_subject", "challenge", "name")

    def __init__(self, subject: str) -> None:
        self.challenge: str | None = None
        self.name = f"certificate:{subject}"
        self._subject = subject

    def read(self, presented: Presented) -> str | None:
        der = presented.certificate
        if der is None:
            return None
        found = read_certificate(der)
        if found is None:
            return ""
        return found.fingerprint if found.names(self._subject) else None


class CertificateVerifier(Authenticator):
    """Takes certificates by the part of them that names the caller."""

    takes = "certificate"

    def __init__(self, name: str, settings: CertificateAuthenticator, render: Render) -> None:
        self.name = name
        self.slots = (CertificateSlot(settings.subject),)
        self._subject = settings.subject
        self._render = render
        self._fingerprint = fingerprint_of(render, "certificate", name, settings.subject)

    @property
    def fingerprint(self) -> bytes:
        return self._fingerprint

    async def judge(
        self, _credential: Credential, presented: Presented, now: float
    ) -> Identity | None:
        """Whom the certificate names.

        Raises:
            Refusal: `token_invalid`: unreadable, with a control character in it, of another time, or naming several;
                `token_expired`: past its end, in a connection that is older than that.
        """
        found = read_certificate(presented.certificate or b"")
        if found is None:
            raise invalid("certificate")
        if not found.clean:
            raise invalid("claim")  # CVE-2009-2408: a name that goes on behind a zero byte
        subjects = found.names(self._subject)
        if len(subjects) > 1:
            raise invalid("ambiguous-subject")
        if not subjects[0]:
            raise invalid("subject")
        if now < found.not_before:
            raise invalid("nbf")
        if now >= found.not_after:
            raise Refusal("token_expired", "exp")
        return self._identity(subjects[0], found)

    def _identity(self, subject: str, found: Certificate) -> Identity:
        emails = found.san_email
        identity = Identity(
            self.name,
            subject,
            email=emails[0] if len(emails) == 1 else None,
            claims=found.claims,
            issued_at=found.not_before,
            not_before=found.not_before,
            expires_at=found.not_after,
            credential_id=found.fingerprint,
        )
        return identity.with_headers(self._render)
