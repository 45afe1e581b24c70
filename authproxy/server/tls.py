"""TLS on listeners: the two profiles, certificates chosen by the name that the client asks for (SNI), and whose client
certificates are taken.

OpenSSL resumes a session without looking at its client certificate again, so who may show one and what sessions are
made with change together: another authority is another context, with ticket keys and a session cache of its own.
"""

import ssl
import sys
from collections.abc import Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from authproxy.config.listeners import CertificatePair, ClientCertificates, ListenerTLS
from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.model.errors import ConfigError, Problem
from authproxy.model.source import Path as SourcePath

# Mozilla's intermediate profile: forward secrecy and AEAD only.
INTERMEDIATE_CIPHERS = (
    "ECDHE-ECDSA-AES128-GCM-SHA256:ECDHE-RSA-AES128-GCM-SHA256:ECDHE-ECDSA-AES256-GCM-SHA384:"
    "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-RSA-CHACHA20-POLY1305"
)


def context_for(certificate: Path, private_key: Path, profile: str) -> ssl.SSLContext:
    """A server context for one certificate.

    Raises:
        OSError, ssl.SSLError: the files cannot be used, or do not belong together.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = (
        ssl.TLSVersion.TLSv1_3 if profile == "modern" else ssl.TLSVersion.TLSv1_2
    )
    context.set_ciphers(INTERMEDIATE_CIPHERS)
    # No renegotiation (CVE-2009-3555, and a cheap way to burn CPU), no compression (CRIME).
    context.options |= (
        ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION | ssl.OP_CIPHER_SERVER_PREFERENCE
    )
    context.set_alpn_protocols(["http/1.1"])
    # An encrypted key would make OpenSSL ask on the terminal; there is nobody to answer.
    context.load_cert_chain(certificate, private_key, password=lambda: b"")
    return context


def names_of(certificate: Path) -> list[str]:
    """The DNS names in a certificate, in lower case (`*.example` as such); its CN where it has none."""
    parsed = x509.load_pem_x509_certificate(read_named(certificate))
    try:
        extension = parsed.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        names = extension.value.get_values_for_type(x509.DNSName)  # type: ignore[attr-defined]
    except x509.ExtensionNotFound:
        names = [a.value for a in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [str(name).lower() for name in names]


class Handshake(ssl.SSLObject):
    """The server's end of a TLS connection, which knows what name the client `asked` for: lower case, without a last dot.

    In TLS 1.2 a resumed session brings the name along that it was made for (RFC 5246 section 7.4.1.4; OpenSSL's
    SSL_get_servername), whatever the client asks for now.
    """

    asked: str | None = None


class Certificates:
    """The contexts of one listener by name; the first answers whatever none is for.

    `fingerprint` is of all that they were made from, `authorities` of whose client certificates they take: equal ones
    are the same to clients.
    """

    def __init__(self, fingerprint: bytes = b"", authorities: bytes = b"") -> None:
        self.fingerprint = fingerprint
        self.authorities = authorities
        # None is the default: it must not hold itself, or it would wait long for the collector after a reload.
        self._by_name: dict[str, ssl.SSLContext | None] = {}
        self._default: ssl.SSLContext | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """What a listener is started with; sessions and tickets are its own."""
        assert self._default is not None, "a listener has at least one certificate"
        return self._default

    def add(self, names: list[str], context: ssl.SSLContext) -> None:
        """Take a certificate in; for a name that several have, the first is used."""
        if self._default is None:
            self._default = context
            context.sslobject_class = Handshake
            context.sni_callback = partial(_choose, self._by_name)
        for name in names:
            self._by_name.setdefault(name, None if context is self._default else context)


def _choose(
    by_name: Mapping[str, ssl.SSLContext | None],
    sock: ssl.SSLObject,
    name: str | None,
    default: ssl.SSLContext,
) -> None:
    if name is None:
        return
    lower = name.lower().removesuffix(".")
    assert isinstance(sock, Handshake)
    sock.asked = lower
    wildcard = "*." + lower.partition(".")[2]
    sock.context = by_name.get(lower if lower in by_name else wildcard) or default


def pass_over_bad_names() -> None:
    """Say nothing of a ClientHello whose server name is no text: Python prints a traceback for each, and anyone may send
    them. The handshake fails all the same.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, UnicodeError):
            before(unraisable)

    sys.unraisablehook = hook


def read_certificates(loaded: Loaded, index: int, tls: ListenerTLS) -> Certificates:
    """The certificates of a listener, at least one, and whose it takes from clients.

    Raises:
        ConfigError: a certificate, a key or the authorities' file cannot be used.
    """
    problems: list[Problem] = []
    authorities = _read_authorities(loaded, index, tls.client_certificates, problems)
    # Before the files are used: what changes in between is another fingerprint at the next look.
    seen = [_bytes_of(loaded.folder / f) for p in tls.certificates for f in (p.certificate, p.private_key)]  # fmt: skip
    certificates = Certificates(
        sha256(repr((tls, seen, authorities)).encode()).digest(),
        sha256(repr((tls.client_certificates, authorities)).encode()).digest(),
    )
    for at, pair in enumerate(tls.certificates):
        path: SourcePath = ("listeners", index, "tls", "certificates", at)
        try:
            certificate = loaded.folder / pair.certificate
            context = context_for(certificate, loaded.folder / pair.private_key, tls.profile)
            if authorities is not None and tls.client_certificates is not None:
                # In every context: OpenSSL verifies with the one that the name has chosen.
                trust(context, authorities, tls.client_certificates.mode)
            certificates.add(names_of(certificate), context)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            problems.append(_problem(loaded, path, pair, error))
    if problems:
        raise ConfigError(problems)
    return certificates


def _bytes_of(file: Path) -> bytes:
    try:
        return read_named(file)
    except OSError:
        return b""  # whoever uses it says so


def trust(context: ssl.SSLContext, authorities: str, mode: str) -> None:
    """Ask clients for certificates, and verify them with these authorities (PEM) and no others.

    Raises:
        ssl.SSLError: there is no certificate in it, or a broken one.
    """
    context.load_verify_locations(cadata=authorities)
    # An authority that is named is trusted, also one that is not its own issuer.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.verify_mode = ssl.CERT_OPTIONAL if mode == "optional" else ssl.CERT_REQUIRED


def _read_authorities(
    loaded: Loaded, index: int, wanted: ClientCertificates | None, problems: list[Problem]
) -> str | None:
    """The authorities' certificates as PEM; None where clients are asked for none, or with a problem."""
    if wanted is None:
        return None
    try:
        # What is not ASCII stands between certificates, as names in bundles do; OpenSSL takes ASCII only.
        text = read_named(loaded.folder / wanted.authorities).decode("ascii", "ignore")
        if "-----BEGIN X509 CRL-----" in text:
            raise ValueError("it holds a revocation list, which would not be honoured")
        trust(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), text, wanted.mode)
    except (OSError, ValueError) as error:
        # A listener that trusts nobody would be found out too late; one that trusts anybody, never.
        why = _why_no_authorities(error)
        path = ("listeners", index, "tls", "client_certificates", "authorities")
        problems.append(loaded.source.problem(path, "bad-authorities", f"{wanted.authorities}: {why}", "give a PEM file with the certificates of the authorities whose client certificates are taken"))  # fmt: skip
        return None
    return text


def _why_no_authorities(error: Exception) -> str:
    if isinstance(error, ssl.SSLError):
        missing = "does not contain a certificate" in str(error)
        return "there is no certificate in it" if missing else "a certificate in it is broken"
    if isinstance(error, OSError):
        return f"it cannot be read: {(error.strerror or str(error)).lower()}"
    return str(error).lower()


def _problem(loaded: Loaded, path: SourcePath, pair: CertificatePair, error: Exception) -> Problem:
    if isinstance(error, FileNotFoundError):
        missing = next(
            (f for f in (pair.certificate, pair.private_key) if not (loaded.folder / f).exists()),
            "a file",
        )
        text, remedy = (
            f"{missing} does not exist",
            "make one with `authproxy certs create`, or mend the path",
        )
    elif isinstance(error, ssl.SSLError) and "KEY_VALUES_MISMATCH" in str(error):
        text, remedy = (
            f"{pair.private_key} is not the key of {pair.certificate}",
            "name the key that belongs to it",
        )
    else:
        text = f"{pair.certificate} and {pair.private_key} cannot be used: {error}"
        remedy = "give PEM files: the certificate with its chain, and its unencrypted private key"
    return loaded.source.problem(path, "bad-certificate", text, remedy)
