"""TLS on listeners: what is offered, which certificate answers, and what is an error before anything is served."""

import contextlib
import datetime as dt
import ssl
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

from authproxy.model.errors import ConfigError
from authproxy.server.tls import (
    Certificates,
    context_for,
    names_of,
    pass_over_bad_names,
    read_certificates,
)
from tests.playbook import OPEN, configuration, playbook, write_files
from tests.wire import until

Make = Callable[..., tuple[Path, Path]]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """Makes a self-signed certificate for names; the paths of it and of its key."""

    def certificate(
        *names: str, common: str = "common", passphrase: bytes = b""
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])
        now = dt.datetime.now(dt.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=1))
        )
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        stem = (names or (common,))[0].replace("*", "star")
        paths = tmp_path / f"{stem}.crt", tmp_path / f"{stem}.key"
        paths[0].write_bytes(builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        hidden = BestAvailableEncryption(passphrase) if passphrase else NoEncryption()
        paths[1].write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
        return paths

    return certificate


def listeners(*pairs: tuple[Path, Path], **more: object) -> list[dict[str, object]]:
    """A TLS listener with these certificates."""
    named = [{"certificate": str(pair[0]), "private_key": str(pair[1])} for pair in pairs]
    return [{"address": "127.0.0.1:0", "tls": {"certificates": named, **more}}]


def client(authority: Path, **wishes: ssl.TLSVersion) -> ssl.SSLContext:
    """A client that trusts this certificate."""
    context = ssl.create_default_context(cafile=authority)
    context.set_alpn_protocols(["h2", "http/1.1"])
    for name, value in wishes.items():
        setattr(context, name, value)
    return context


async def test_requests_over_tls(make: Make) -> None:
    """A TLS listener serves HTTP/1.1 whatever else the client offers, and the backend learns that it was https."""
    pair = make("localhost")
    async with playbook(listeners=listeners(pair)) as p:
        link = await p.connect(tls=client(pair[0]))
        found = link.writer.get_extra_info("ssl_object")
        assert (found.version(), found.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        for _ in range(2):
            answer = await p.request("GET", "/", link=link)
            assert answer.seen[0].field("x-forwarded-proto") == "https"
        await link.send(b"GET / HTTP/2.0\r\nHost: a\r\n\r\n")
        assert (await link.answer()).code == "version_not_supported"
        assert await link.rest() == b""


async def test_old_versions_are_refused(make: Make) -> None:
    """TLS 1.2 is the least, and with `profile: modern` 1.3 is."""
    pair = make("localhost")
    older = client(pair[0], maximum_version=ssl.TLSVersion.TLSv1_2)
    async with playbook(listeners=listeners(pair)) as p:
        assert (await p.request("GET", "/", link=await p.connect(tls=older))).status == 200
    async with playbook(listeners=listeners(pair, profile="modern")) as p:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await p.connect(tls=older)


async def test_plain_bytes_on_a_tls_port(make: Make) -> None:
    """Who speaks plain HTTP to a TLS port is closed, unanswered, without a word in the error log."""
    async with playbook(listeners=listeners(make("localhost"))) as p:
        assert b"HTTP/1.1 200" not in await p.raw(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert p.backend.seen == []


async def test_a_handshake_has_an_end(make: Make) -> None:
    """A client that does not shake hands is closed after `handshake`."""
    async with playbook(listeners=listeners(make("localhost")), bounds={"handshake": "100ms"}) as p:
        link = await p.connect()
        assert await link.rest() == b""


def handshake(context: ssl.SSLContext, name: str | None) -> bytes:
    """The certificate (DER) that a server with this context shows to who asks for that name."""
    asking = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    asking.check_hostname, asking.verify_mode = False, ssl.CERT_NONE
    pipes = [ssl.MemoryBIO() for _ in range(4)]
    server = context.wrap_bio(pipes[0], pipes[1], server_side=True)
    asker = asking.wrap_bio(pipes[2], pipes[3], server_hostname=name)
    for _ in range(6):
        for side, out, back in ((asker, pipes[3], pipes[0]), (server, pipes[1], pipes[2])):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
            back.write(out.read())
    return asker.getpeercert(binary_form=True) or b""


def test_the_name_chooses_the_certificate(make: Make) -> None:
    """By SNI: the exact name, else the wildcard above it, in any case; no or another name gets the first."""
    pairs = [make("first.test"), make("second.test", "also.test"), make("*.wild.test")]
    certificates = Certificates()
    for pair in pairs:
        certificates.add(names_of(pair[0]), context_for(*pair, "intermediate"))
    shown = {
        name: [
            ssl.PEM_cert_to_DER_cert(pair[0].read_text()) for pair in pairs
        ].index(handshake(certificates.context, name))
        for name in (None, "first.test", "second.test", "ALSO.test", "a.wild.test", "a.b.wild.test", "wild.test", "other")
    }  # fmt: skip
    assert shown == {
        None: 0, "first.test": 0, "second.test": 1, "ALSO.test": 1, "a.wild.test": 2, "a.b.wild.test": 0, "wild.test": 0, "other": 0,
    }  # fmt: skip


def test_a_name_of_the_first_goes_before_a_wildcard_of_another(make: Make) -> None:
    """The exact name is the first's own; and a context that was replaced is gone at once, without the collector."""
    first, wild = make("a.test"), make("*.test")
    certificates = Certificates()
    for pair in (first, wild):
        certificates.add(names_of(pair[0]), context_for(*pair, "intermediate"))
    der = ssl.PEM_cert_to_DER_cert(first[0].read_text())
    assert handshake(certificates.context, "a.test") == der
    assert handshake(certificates.context, "b.test") != der
    gone = weakref.ref(certificates.context)
    del certificates
    assert gone() is None


def test_names_of_a_certificate(make: Make) -> None:
    """Its DNS names; its CN only where it has no such extension."""
    assert names_of(make("A.test", "*.b.test", common="cn")[0]) == ["a.test", "*.b.test"]
    assert names_of(make(common="Old.test")[0]) == ["old.test"]


def test_what_is_offered(make: Make) -> None:
    """Forward secrecy and AEAD only, no compression, no renegotiation."""
    context = context_for(*make("localhost"), "intermediate")
    names = {cipher["name"] for cipher in context.get_ciphers()}
    assert all(name.startswith(("ECDHE-", "TLS_")) and "CBC" not in name for name in names)
    assert not [name for name in names if name.endswith("-SHA") or "RC4" in name]
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION


def test_what_cannot_be_used_is_a_problem_with_its_place(make: Make, tmp_path: Path) -> None:
    """A missing file, a key of another certificate, a key with a passphrase and rubbish each say what is wrong, all at once."""
    good, other = make("good.test"), make("other.test")
    hidden = make("hidden.test", passphrase=b"s3cret")
    rubbish = tmp_path / "rubbish.pem"
    rubbish.write_text("rubbish")
    pairs = [(tmp_path / "no.crt", good[1]), (good[0], other[1]), hidden, (rubbish, rubbish)]
    config = configuration("http://127.0.0.1:1", listeners=listeners(*pairs))
    (tmp_path / "c").mkdir()
    loaded = write_files(tmp_path / "c", config, [OPEN])
    tls = loaded.usable().listeners[0].tls
    assert tls is not None
    with pytest.raises(ConfigError) as failed:
        read_certificates(loaded, 0, tls)
    texts = [str(problem) for problem in failed.value.problems]
    assert len(texts) == 4
    assert "does not exist" in texts[0]
    assert "is not the key of" in texts[1]
    assert all("cannot be used" in text for text in texts[2:])
    assert "s3cret" not in "".join(texts)


def test_a_name_that_is_no_text_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anyone may send such a ClientHello; everything else that cannot be raised is still shown."""
    shown: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda found: shown.append(found.exc_type))
    pass_over_bad_names()
    for error in (UnicodeDecodeError, UnicodeError, ValueError):
        sys.unraisablehook(SimpleNamespace(exc_type=error))
    assert shown == [ValueError]


async def test_handshakes_under_way_are_connections(make: Make) -> None:
    """Who opens them and says nothing gets no more of them than of connections; past that each is closed at once, unanswered,
    and counted. Room that is given back is used again, and none is ever lost to a handshake that failed.
    """  # fmt: skip
    pair = make("localhost")
    async with playbook(listeners=listeners(pair), bounds={"connections": 3}) as p:
        server = p.worker._servers[0]
        for _ in range(20):
            broken = await p.connect()
            await broken.send(b"GET / HTTP/1.1\r\n\r\n")
            await broken.rest()
        await until(lambda: server.count == 0)
        silent = [await p.connect() for _ in range(3)]
        await until(lambda: server.count == 3)
        assert [await (await p.connect()).rest() for _ in range(5)] == [b""] * 5
        assert server.tally is not None
        refused = server.tally._slot.cell("authproxy_handshakes_refused_total", listener=server.name)  # fmt: skip
        assert server.tally._cells[refused] == 5
        silent[0].close()
        await until(lambda: server.count == 2)
        link = await p.connect(tls=client(pair[0]))
        assert (await p.request("GET", "/", link=link)).status == 200
        assert server.count == 3
        for one in (*silent, link):
            one.close()
        await until(lambda: server.count == 0)
