"""Whom a client certificate names: exactly one caller, or nobody."""

import datetime as dt
import time
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import NameOID
from multidict import CIMultiDict

from authproxy.authn.authentication import Authentication
from authproxy.authn.cache import IdentityCache
from authproxy.authn.certificate import CertificateVerifier, read_certificate
from authproxy.authn.revocation import Revocations
from authproxy.authn.slots import Presentation
from authproxy.config.authenticators import CertificateAuthenticator
from authproxy.model.errors import Refusal
from authproxy.model.headers import IdentityProfile
from authproxy.model.identity import Identity
from tests import certificates

DNS, EMAIL, URI = x509.DNSName, x509.RFC822Name, x509.UniformResourceIdentifier
SPIFFE = URI("spiffe://acme.test/robot")
AUTHORITY = certificates.authority()


def verifier(subject: str = "cn", name: str = "machines") -> CertificateVerifier:
    """An authenticator that reads this part."""
    settings = CertificateAuthenticator.model_validate({"type": "certificate", "subject": subject})
    return CertificateVerifier(name, settings, IdentityProfile("forwarded").render)


def shown(
    *common: str,
    names: Sequence[x509.GeneralName] = (),
    subject: x509.Name | None = None,
    **more: Any,
) -> Presentation:
    """What a client presents that showed a certificate of these names."""
    pair = certificates.issue(AUTHORITY, subject or certificates.name(*common), names, **more)
    return Presentation(CIMultiDict(), pair.der)


async def ask(
    presented: Presentation, *verifiers: CertificateVerifier, now: float | None = None
) -> Identity:
    """Who a route with these authenticators takes it for."""
    route = Authentication(verifiers or [verifier()], IdentityCache(), Revocations())
    return await route.authenticate(presented, time.time() if now is None else now, lambda: None)


async def refused(presented: Presentation, *verifiers: CertificateVerifier, now: float | None = None) -> tuple[str, str]:  # fmt: skip
    """The refusal: its code and its reason."""
    with pytest.raises(Refusal) as refusal:
        await ask(presented, *verifiers, now=now)
    return refusal.value.code, refusal.value.reason


@pytest.mark.parametrize(
    ("subject", "expected"),
    [("cn", "robot"), ("san-dns", "robot.acme.test"), ("san-email", "robot@acme.test"), ("san-uri", "spiffe://acme.test/robot")],
)  # fmt: skip
async def test_each_part_can_be_the_subject(subject: str, expected: str) -> None:
    """The configured part names the caller, as the certificate writes it; DNS names are lower case, as they compare."""
    names = [DNS("Robot.ACME.test"), EMAIL("robot@acme.test"), SPIFFE, x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))]  # fmt: skip
    identity = await ask(shown("robot", names=names), verifier(subject))
    assert (identity.authenticator, identity.subject) == ("machines", expected)
    assert identity.header_block == f"X-Forwarded-User: {expected}\r\nX-Forwarded-Email: robot@acme.test\r\n".encode()  # fmt: skip


async def test_the_fingerprint_is_that_of_openssl() -> None:
    """SHA-256 of the DER, lower-case hex: `openssl x509 -fingerprint -sha256` without its colons."""
    pair = certificates.issue(AUTHORITY, x509.Name([]))
    identity = await ask(Presentation(CIMultiDict(), pair.der), verifier("fingerprint"))
    assert identity.subject == pair.certificate.fingerprint(hashes.SHA256()).hex()
    assert identity.credential_id == identity.subject


async def test_what_policies_see() -> None:
    """Every name, who signed it, and its times, as claims; the identity ends with the certificate."""
    pair = certificates.issue(AUTHORITY, certificates.name("robot"), [DNS("a.test"), DNS("b.test"), SPIFFE])  # fmt: skip
    identity = await ask(Presentation(CIMultiDict(), pair.der), verifier("san-uri"))
    found = pair.certificate
    ends = found.not_valid_after_utc.timestamp()
    assert identity.claims == {
        "subject": "CN=robot", "issuer": "CN=authority", "serial": f"{found.serial_number:x}",
        "fingerprint": identity.credential_id, "common_names": ["robot"],
        "san_dns": ["a.test", "b.test"], "san_email": [], "san_uri": ["spiffe://acme.test/robot"],
        "not_before": found.not_valid_before_utc.timestamp(), "not_after": ends,
    }  # fmt: skip
    assert (identity.expires_at, identity.groups, identity.email) == (ends, (), None)


async def test_nothing_shown_is_unauthenticated() -> None:
    """No certificate, and one without the wanted part, are the same: nothing was presented."""
    nobody = ("unauthenticated", "no-credentials")
    assert await refused(Presentation(CIMultiDict())) == nobody
    assert await refused(shown("robot"), verifier("san-uri")) == nobody
    assert await refused(shown(names=[SPIFFE]), verifier("cn")) == nobody


async def test_it_is_never_read_from_a_header() -> None:
    """Whatever a client or a proxy writes about certificates is no certificate."""
    pem = certificates.issue(AUTHORITY, certificates.name("robot")).pem.replace("\n", "")
    said = {"X-Forwarded-Client-Cert": pem, "Client-Cert": pem, "X-SSL-Client-Cert": pem, "Authorization": f"Bearer {pem}"}  # fmt: skip
    assert await refused(Presentation(CIMultiDict(said))) == ("unauthenticated", "no-credentials")


@pytest.mark.parametrize(
    ("subject", "common", "names"),
    [
        ("cn", ("robot", "admin"), []),
        ("san-dns", (), [DNS("a.test"), DNS("b.test")]),
        ("san-uri", (), [SPIFFE, URI("spiffe://acme.test/admin")]),
        ("san-email", (), [EMAIL("a@acme.test"), EMAIL("b@acme.test")]),
    ],
)
async def test_who_could_be_two_is_nobody(subject: str, common: tuple[str, ...], names: list[x509.GeneralName]) -> None:  # fmt: skip
    """Which of several values is the caller nobody can say for all readers: it is refused, and nobody else is asked."""
    presented = shown(*common, names=names)
    assert await refused(presented, verifier(subject)) == ("token_invalid", "ambiguous-subject")
    rest = verifier("fingerprint", "others")
    assert await refused(presented, verifier(subject), rest) == (
        "token_invalid",
        "ambiguous-subject",
    )


async def test_several_names_of_another_part_are_in_nobodys_way() -> None:
    """Only the part that names the caller must be one."""
    names = [DNS("a.test"), DNS("b.test"), SPIFFE]
    assert (await ask(shown("a", "b", names=names), verifier("san-uri"))).subject == SPIFFE.value


@pytest.mark.parametrize("control", ["\0", "\n", "\x1b", "\x7f", "\x85"])
@pytest.mark.parametrize("oid", [NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME], ids=["cn", "o"])
async def test_control_characters_spoil_it(control: str, oid: x509.ObjectIdentifier) -> None:
    """In any name of the certificate, also one that names nobody here (CVE-2009-2408)."""
    attributes = [x509.NameAttribute(oid, f"admin{control}.evil")]
    presented = shown(subject=x509.Name(attributes), names=[SPIFFE])
    assert await refused(presented, verifier("san-uri")) == ("token_invalid", "claim")


async def test_control_characters_in_alternative_names() -> None:
    """There too, also in those that nobody reads a subject from."""
    presented = shown("robot", names=[DNS("a.test\r\nX-Admin: 1")])
    assert await refused(presented) == ("token_invalid", "claim")


async def test_what_cannot_be_read_is_invalid() -> None:
    """OpenSSL reads more than we do: what it let in and we cannot read to its end is refused, and not anonymous."""
    pair = certificates.issue(AUTHORITY, certificates.name("robot"), [DNS("a.test")])
    for der in (b"", b"junk", pair.der[:-1], pair.der + b"x" * 20_000):
        assert (await refused(Presentation(CIMultiDict(), der)))[0] == "token_invalid"
    twice = pair.der.replace(b"a.test", b"\xff.test")
    assert read_certificate(twice) is None


async def test_it_ends_in_the_middle_of_a_connection() -> None:
    """The handshake looked at its times once; we look at every request, the cached identity too."""
    now = dt.datetime.now(dt.UTC)
    presented = shown("robot", ends=now + certificates.DAY)
    late = now.timestamp() + 86_500
    assert await refused(presented, now=late) == ("token_expired", "exp")
    assert await refused(presented, now=now.timestamp() - 100_000) == ("token_invalid", "nbf")
    route = Authentication([verifier()], IdentityCache(), Revocations())
    assert (await route.authenticate(presented, now.timestamp(), lambda: None)).subject == "robot"
    assert route.recall(presented, now.timestamp(), {}) is not None
    assert route.recall(presented, late, {}) is None


async def test_another_certificate_is_another_caller() -> None:
    """Identities are remembered by certificate: the same route never takes one for the other."""
    route = Authentication([verifier()], IdentityCache(), Revocations())
    for name in ("robot", "admin", "robot"):
        identity = await route.authenticate(shown(name), time.time(), lambda: None)
        assert identity.subject == name


async def test_authenticators_do_not_share_identities() -> None:
    """What one reads as its subject is nothing to another that reads another part, also of the same certificate."""
    presented = shown("robot", names=[SPIFFE])
    cache, found = IdentityCache(), []
    for one in (verifier("cn", "a"), verifier("san-uri", "b"), verifier("cn", "c")):
        route = Authentication([one], cache, Revocations())
        found.append(await route.authenticate(presented, time.time(), lambda: None))
    assert [(f.authenticator, f.subject) for f in found] == [("a", "robot"), ("b", SPIFFE.value), ("c", "robot")]  # fmt: skip


def test_a_connection_is_looked_at_once() -> None:
    """The same bytes are taken apart once, whoever asks and however often."""
    der = certificates.issue(AUTHORITY, certificates.name("robot")).der
    assert read_certificate(der) is read_certificate(der)
