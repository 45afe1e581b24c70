"""A server is named without doubt, reached in time or refused with a reason, and never trusted unverified."""

import asyncio
import datetime as dt
import ipaddress
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from authproxy.model.errors import Refusal
from authproxy.upstream.connection import Timeouts
from authproxy.upstream.dial import Server, dial, tls_context, why
from authproxy.upstream.pool import Pool
from tests.upstream.backends import HELLO, answering, backend, exchange, pool_to, until

PATIENT = Timeouts(connect=5, response=5, idle=5)


@pytest.mark.parametrize(
    ("text", "server", "authority"),
    [
        ("http://127.0.0.1:9000", Server("http", "127.0.0.1", 9000), b"127.0.0.1:9000"),
        ("http://orders.internal", Server("http", "orders.internal", 80), b"orders.internal"),
        ("https://h:8443", Server("https", "h", 8443), b"h:8443"),
        ("https://h", Server("https", "h", 443), b"h"),
        ("https://h:80", Server("https", "h", 80), b"h:80"),
        ("http://[::1]:9000", Server("http", "::1", 9000), b"[::1]:9000"),
        ("http://[0:0::1]", Server("http", "::1", 80), b"[::1]"),
        ("unix:/run/x.sock", Server("unix", path="/run/x.sock"), b"localhost"),
    ],
)
def test_servers(text: str, server: Server, authority: bytes) -> None:
    """A server reads as it is written, and its text reads as the same server again."""
    assert Server.parse(text) == server
    assert Server.parse(str(server)) == server
    assert server.authority == authority


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("127.0.0.1:9000", "begins with"),
        ("ftp://h", "begins with"),
        ("HTTP://h", "begins with"),
        ("", "begins with"),
        ("http://user:hunter2@h", "no user or password"),
        ("http://h/", "rewrite"),
        ("http://h/path", "rewrite"),
        ("http://h?q", "rewrite"),
        ("http://h#f", "rewrite"),
        ("http://", "scheme://host:port"),
        ("http://:80", "scheme://host:port"),
        ("http://h:", "scheme://host:port"),
        ("http://h:99999", "65535"),
        ("http://h:0", "65535"),
        ("http://h:-1", "scheme://host:port"),
        ("http://bücher.example", "ASCII"),
        ("http://a..b", "scheme://host:port"),
        ("http://" + "a" * 64 + ".test", "scheme://host:port"),
        ("http://a b", "scheme://host:port"),
        ("http://h\n", "scheme://host:port"),
        ("http://h:80\n", "scheme://host:port"),
        ("http://[::1", "scheme://host:port"),
        ("http://[::zz]", "scheme://host:port"),
        ("http://[1:2]", "At least 3 parts"),
        ("unix:x.sock", "absolute"),
        ("unix://x.sock", "absolute"),
        ("unix:", "absolute"),
    ],
)
def test_what_is_no_server(text: str, word: str) -> None:
    """Anything else is refused with what to write instead, and a password is not repeated."""
    with pytest.raises(ValueError, match=word) as refused:
        Server.parse(text)
    assert "hunter2" not in str(refused.value)


@dataclass
class Authority:
    """A certificate authority of the test's own."""

    folder: Path
    name: str

    def __post_init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self.subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        key = self._key.public_key()
        builder = self._builder(self.subject, key).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        self.file = self.folder / f"{self.name}.crt"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, days: int = 1
    ) -> x509.CertificateBuilder:
        now = dt.datetime.now(dt.UTC)
        start = min(now, now + dt.timedelta(days=days)) - dt.timedelta(days=1)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(start)
            .not_valid_after(now + dt.timedelta(days=days))
        )

    def issue(self, name: str, days: int = 1) -> tuple[Path, Path]:
        """A certificate for a name or an address, and its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        alternative: x509.GeneralName = (
            x509.IPAddress(ipaddress.ip_address(name)) if name[0].isdigit() else x509.DNSName(name)
        )
        builder = self._builder(subject, key.public_key(), days).add_extension(
            x509.SubjectAlternativeName([alternative]), critical=False
        )
        certificate = builder.sign(self._key, hashes.SHA256())
        files = self.folder / f"{name}.crt", self.folder / f"{name}.key"
        files[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return files


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path, "ca")


def served_with(files: tuple[Path, Path], clients: Path | None = None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*files)
    context.set_alpn_protocols(["h2", "http/1.1"])
    if clients is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(clients)
    return context


async def reach(
    tls: ssl.SSLContext, trust: ssl.SSLContext, server_name: str | None = None
) -> bytes:
    """The body that comes over TLS."""
    async with backend(answering(HELLO), tls=tls) as behind:
        pool = Pool([behind.server], PATIENT, trust, server_name)
        try:
            return (await exchange(pool))[1]
        finally:
            await pool.close()
            await until(lambda: not pool.busy_count)


async def refusal_of(
    tls: ssl.SSLContext, trust: ssl.SSLContext, server_name: str | None = None
) -> tuple[str, str]:
    with pytest.raises(Refusal) as refused:
        await reach(tls, trust, server_name)
    return refused.value.code, refused.value.reason


async def test_a_verified_backend(authority: Authority) -> None:
    """A backend with a certificate of the named authority for its address is reached."""
    tls = served_with(authority.issue("127.0.0.1"))
    assert await reach(tls, tls_context(authority.file)) == b"hello"


async def test_a_backend_under_another_name(authority: Authority) -> None:
    """`server_name` is the name that is verified."""
    tls = served_with(authority.issue("backend.test"))
    assert await reach(tls, tls_context(authority.file), "backend.test") == b"hello"


@pytest.mark.parametrize("name", ["127.0.0.2", "other.test"])
async def test_a_certificate_for_somebody_else(authority: Authority, name: str) -> None:
    """A good certificate for another name is refused by default (CVE-2025-66491)."""
    tls = served_with(authority.issue(name))
    trust = tls_context(authority.file)
    assert await refusal_of(tls, trust) == ("upstream_unreachable", "certificate")


async def test_a_certificate_of_another_authority(authority: Authority, tmp_path: Path) -> None:
    """A certificate of an authority that is not the named one is refused."""
    tls = served_with(Authority(tmp_path, "rogue").issue("127.0.0.1"))
    trust = tls_context(authority.file)
    assert await refusal_of(tls, trust) == ("upstream_unreachable", "certificate")


async def test_a_certificate_past_its_days(authority: Authority) -> None:
    """An expired certificate is refused."""
    tls = served_with(authority.issue("127.0.0.1", days=-1))
    trust = tls_context(authority.file)
    assert await refusal_of(tls, trust) == ("upstream_unreachable", "certificate")


async def test_without_an_authority_the_systems_count(authority: Authority) -> None:
    """A private authority is not believed unless it is named."""
    tls = served_with(authority.issue("127.0.0.1"))
    assert await refusal_of(tls, tls_context()) == ("upstream_unreachable", "certificate")


async def test_a_client_certificate_is_shown(authority: Authority) -> None:
    """A backend that asks for a certificate gets ours."""
    tls = served_with(authority.issue("127.0.0.1"), clients=authority.file)
    certificate, key = authority.issue("proxy.test")
    assert await reach(tls, tls_context(authority.file, certificate, key)) == b"hello"


def test_our_tls() -> None:
    """TLS 1.2 or newer, verified, with the name checked."""
    context = tls_context()
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname


def test_files_that_are_no_certificates(tmp_path: Path) -> None:
    """A file that is missing or no PEM is an OSError for whoever reads the configuration."""
    (tmp_path / "empty.crt").write_text("")
    for file in (tmp_path / "missing.crt", tmp_path / "empty.crt"):
        with pytest.raises(OSError):
            tls_context(file)


async def test_plain_http_where_tls_was_expected() -> None:
    """A backend that speaks no TLS is refused, never spoken to in the clear."""
    async with backend(answering(HELLO)) as behind:
        server = Server("https", behind.server.host, behind.server.port)
        task = asyncio.create_task(dial(server, asyncio.Protocol, 0.2, tls_context()))
        with pytest.raises(Refusal):
            await task


async def test_unix_sockets(tmp_path: Path) -> None:
    """A backend behind a socket file is reached like any other."""
    async with (
        backend(answering(HELLO, HELLO), path=tmp_path / "s") as behind,
        pool_to(behind.server) as pool,
    ):
        for _ in range(2):
            assert (await exchange(pool))[1] == b"hello"
        assert behind.connections == 1


async def test_nagle_is_off() -> None:
    """A small body never waits for the acknowledgement of its head."""

    class Open(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            self.transport = transport

    async with backend(answering()) as behind:
        connection = await dial(behind.server, Open, 1.0)
        opened = connection.transport.get_extra_info("socket")
        assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        connection.transport.close()
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("server", "reason"),
    [
        (Server("http", "127.0.0.1", 1), "refused"),
        (Server("unix", path="/nonexistent/s"), "socket_missing"),
    ],
)
async def test_why_a_server_was_not_reached(server: Server, reason: str) -> None:
    """The log gets a short word for what went wrong; the caller gets 502."""
    with pytest.raises(Refusal) as refused:
        await dial(server, asyncio.Protocol, 2.0)
    assert (refused.value.code, refused.value.reason) == ("upstream_unreachable", reason)


def test_words_for_what_went_wrong() -> None:
    """A verification error is told from any other of TLS, and what has no word of its own is the network."""
    assert why(ssl.SSLCertVerificationError()) == "certificate"
    assert why(ssl.SSLError()) == "tls"
    assert why(socket.gaierror()) == "name"
    assert why(OSError()) == "network"


async def test_a_server_that_does_not_answer_the_door() -> None:
    """A connection that does not open within `connect`, TLS handshake included, is a timeout."""

    async def silent(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with backend(silent) as behind:
        server = Server("https", behind.server.host, behind.server.port)
        with pytest.raises(Refusal) as refused:
            await dial(server, asyncio.Protocol, 0.1, tls_context())
        assert (refused.value.code, refused.value.reason) == ("upstream_timeout", "connect")
