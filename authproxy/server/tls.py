"""TLS on listeners: the two profiles, and certificates chosen by the name that the client asks for (SNI)."""

import ssl
import sys
from pathlib import Path

from cryptography import x509
from cryptography.x509.oid import ExtensionOID, NameOID

from authproxy.config.load import Loaded
from authproxy.config.schema import CertificatePair, ListenerTLS
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
    parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
    try:
        extension = parsed.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME)
        names = extension.value.get_values_for_type(x509.DNSName)  # type: ignore[attr-defined]
    except x509.ExtensionNotFound:
        names = [a.value for a in parsed.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    return [str(name).lower() for name in names]


class Certificates:
    """The contexts of one listener by name; the first answers whatever none is for."""

    def __init__(self) -> None:
        self._by_name: dict[str, ssl.SSLContext] = {}
        self.default: ssl.SSLContext | None = None

    def add(self, names: list[str], context: ssl.SSLContext) -> None:
        """Take a certificate in; for a name that several have, the first is used."""
        if self.default is None:
            self.default = context
            self.answer(context)
        for name in names:
            self._by_name.setdefault(name, context)

    def answer(self, context: ssl.SSLContext) -> None:
        """Choose for this context from now on: how the one that a listener was started with gets new certificates."""
        context.sni_callback = self._choose

    def _choose(self, sock: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        sock.context = self._for(name) or sock.context

    def _for(self, name: str | None) -> ssl.SSLContext | None:
        if name is None:
            return self.default
        lower = name.lower().removesuffix(".")
        wildcard = "*." + lower.partition(".")[2]
        return self._by_name.get(lower) or self._by_name.get(wildcard) or self.default


def pass_over_bad_names() -> None:
    """Say nothing of a ClientHello whose server name is no text: Python prints a traceback for each, and anyone may send
    them. The handshake fails all the same.
    """
    before = sys.unraisablehook

    def hook(unraisable: "sys.UnraisableHookArgs") -> None:
        if not issubclass(unraisable.exc_type, UnicodeError):
            before(unraisable)

    sys.unraisablehook = hook


def listener_context(loaded: Loaded, index: int, tls: ListenerTLS) -> ssl.SSLContext:
    """The context of a listener, which answers with its certificates.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    context = read_certificates(loaded, index, tls).default
    assert context is not None
    return context


def read_certificates(loaded: Loaded, index: int, tls: ListenerTLS) -> Certificates:
    """The certificates of a listener, at least one.

    Raises:
        ConfigError: a certificate or key cannot be used.
    """
    certificates, problems = Certificates(), []
    for at, pair in enumerate(tls.certificates):
        path: SourcePath = ("listeners", index, "tls", "certificates", at)
        try:
            certificate = loaded.folder / pair.certificate
            context = context_for(certificate, loaded.folder / pair.private_key, tls.profile)
            certificates.add(names_of(certificate), context)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            problems.append(_problem(loaded, path, pair, error))
    if problems or certificates.default is None:
        raise ConfigError(problems)
    return certificates


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
