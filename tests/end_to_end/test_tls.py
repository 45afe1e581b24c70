"""TLS as curl and OpenSSL see it: certificates by name, two profiles, and nothing old."""

import socket
import ssl

import pytest

from tests.end_to_end.conftest import Stage


def shake(stage: Stage, listener: int, name: str, **limits: ssl.TLSVersion) -> ssl.SSLSocket:
    """A handshake, verified; `limits` are attributes of the context."""
    context = ssl.create_default_context(cafile=str(stage.authority.file))
    context.set_alpn_protocols(["h2", "http/1.1"])
    for attribute, value in limits.items():
        setattr(context, attribute, value)
    raw = socket.create_connection(("127.0.0.1", stage.served.ports[listener]), 5)
    try:
        return context.wrap_socket(raw, server_hostname=name)
    except BaseException:
        raw.close()
        raise


@pytest.mark.parametrize("name", ["a.test", "b.test"])
def test_each_name_gets_its_certificate(stage: Stage, name: str) -> None:
    """Two names on one listener get two certificates (SNI), and curl verifies both."""
    got = stage.curl_tls("/http/whoami", name=name)
    assert (got.status, got.body) == (200, f"alice||{name}:{stage.served.ports[1]}|https".encode())
    with shake(stage, 1, name) as tls:
        certificate = tls.getpeercert()
    assert certificate is not None
    assert ("DNS", name) in certificate["subjectAltName"]


def test_a_name_that_nobody_has_gets_the_first(stage: Stage) -> None:
    """An unknown name is answered with the first certificate, which a client that verifies refuses."""
    with pytest.raises(ssl.SSLCertVerificationError, match="not valid for"):
        shake(stage, 1, "c.test").close()
    with shake(stage, 1, "127.0.0.1") as tls:
        assert tls.version() == "TLSv1.3"


def test_the_intermediate_profile_takes_tls_1_2(stage: Stage) -> None:
    """The default profile speaks TLS 1.2 with forward secrecy and AEAD, and 1.3."""
    with shake(stage, 1, "a.test", maximum_version=ssl.TLSVersion.TLSv1_2) as tls:
        assert tls.version() == "TLSv1.2"
        cipher = tls.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE")
    assert "GCM" in cipher[0] or "CHACHA20" in cipher[0]


def test_the_modern_profile_takes_only_tls_1_3(stage: Stage) -> None:
    """The modern profile refuses TLS 1.2 and serves 1.3."""
    with pytest.raises(ssl.SSLError):
        shake(stage, 2, "a.test", maximum_version=ssl.TLSVersion.TLSv1_2).close()
    assert stage.curl_tls("/http/text.txt", "--tlsv1.3", listener=2).status in {200, 404}
    refused = stage.curl_tls("/http/text.txt", "--tls-max", "1.2", listener=2)
    assert (refused.exit_status, refused.status) == (35, 0)


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_old_versions_are_refused(stage: Stage, version: str) -> None:
    """TLS 1.0 and 1.1 fail in the handshake, whatever ciphers the client would take."""
    old = ["--tls-max", version, f"--tlsv{version}", "--ciphers", "ALL:@SECLEVEL=0"]
    got = stage.curl_tls("/http/text.txt", *old)
    assert (got.exit_status, got.status) == (35, 0)


@pytest.mark.parametrize("ciphers", ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "aNULL", "DES-CBC3-SHA"])  # fmt: skip
def test_weak_ciphers_are_refused(stage: Stage, ciphers: str) -> None:
    """Without forward secrecy or AEAD there is no TLS 1.2."""
    got = stage.curl_tls(
        "/http/text.txt", "--tls-max", "1.2", "--ciphers", f"{ciphers}:@SECLEVEL=0"
    )
    assert got.exit_status in {35, 59}
    assert got.status == 0


def test_only_http_1_1_is_offered(stage: Stage) -> None:
    """ALPN chooses http/1.1 even where the client would like HTTP/2 better."""
    with shake(stage, 1, "a.test") as tls:
        assert tls.selected_alpn_protocol() == "http/1.1"
    assert stage.curl_tls("/http/whoami", "--http2").said["http_version"] == "1.1"


def test_plain_bytes_on_a_tls_listener_end(stage: Stage) -> None:
    """Who speaks plain HTTP to a TLS listener is disconnected, and the next client is served."""
    with socket.create_connection(("127.0.0.1", stage.served.ports[1]), 5) as raw:
        raw.sendall(b"GET /http/whoami HTTP/1.1\r\nHost: a.test\r\n\r\n")
        raw.settimeout(5)
        seen = b""
        while data := raw.recv(4096):
            seen += data
    assert b"HTTP/1.1 200" not in seen
    assert stage.curl_tls("/http/whoami").status == 200
