"""`authproxy certs create`."""

import asyncio
import ssl
from pathlib import Path

import pytest

from authproxy.authn.certificate import read_certificate
from tests.cli.program import run, succeed


async def handshake(folder: Path, name: str, shown: tuple[Path, Path] | None = None) -> str | None:
    """The TLS version that a strict client and a server with these files agree on; it may have to show a certificate of the client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.crt", folder / "server.key")
    client = ssl.create_default_context(cafile=str(folder / "ca.crt"))
    client.verify_flags |= ssl.VERIFY_X509_STRICT
    if shown is not None:
        client.load_cert_chain(*shown)
        server.load_verify_locations(folder / "ca.crt")
        server.verify_flags |= ssl.VERIFY_X509_STRICT
        server.verify_mode = ssl.CERT_REQUIRED

    def greet(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello")
        writer.close()

    listening = await asyncio.start_server(greet, "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", port, ssl=client, server_hostname=name
        )
        version: str | None = writer.get_extra_info("ssl_object").version()
        assert (
            await reader.read() == b"hello"
        )  # only then the server has taken the client's certificate
        writer.close()
    return version


@pytest.mark.parametrize("name", ["localhost", "127.0.0.1", "::1", "app.example.test"])
async def test_clients_that_trust_the_authority_trust_the_server(tmp_path: Path, name: str) -> None:
    """A strict client that is given ca.crt connects to each name and address of the server."""
    succeed("certs", "create", tmp_path, "--name", "app.example.test")
    assert await handshake(tmp_path, name) == "TLSv1.3"


async def test_not_for_other_names(tmp_path: Path) -> None:
    """A name that was not asked for is not in the certificate."""
    succeed("certs", "create", tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        await handshake(tmp_path, "other.example.test")


def test_keys_are_private_and_the_authority_readable(tmp_path: Path) -> None:
    """Keys are 0600; certificates are for everybody."""
    succeed("certs", "create", tmp_path)
    modes = {p.name: p.stat().st_mode & 0o777 for p in tmp_path.iterdir()}
    assert modes["ca.key"] == modes["server.key"] == 0o600
    assert modes["ca.crt"] & modes["server.crt"] & 0o400


def test_never_overwrites(tmp_path: Path) -> None:
    """A second run keeps every file and names it."""
    succeed("certs", "create", tmp_path)
    before = {p: p.read_bytes() for p in tmp_path.iterdir()}
    out = succeed("certs", "create", tmp_path)
    assert {p: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert out.count("kept ") == 4


def test_a_kept_certificate_without_the_wanted_name_fails(tmp_path: Path) -> None:
    """Names that the certificate lacks are not silently left out: exit 1."""
    succeed("certs", "create", tmp_path, "--name", "a.test")
    succeed("certs", "create", tmp_path, "--name", "a.test")
    result = run("certs", "create", tmp_path, "--name", "b.test")
    assert result.exit_code == 1
    assert "b.test" in result.stderr


@pytest.mark.parametrize(
    "args", [["--name", "a b"], ["--days", "826"], ["--days", "0"], ["x", "y"]]
)
def test_wrong_usage(tmp_path: Path, args: list[str]) -> None:
    """A name that is none and more than 825 days are wrong usage: exit 2, and nothing is written."""
    assert run("certs", "create", tmp_path / "new", *args).exit_code == 2
    assert not (tmp_path / "new").exists()


def test_half_a_pair(tmp_path: Path) -> None:
    """Half of a pair ends with one line and exit 1."""
    (tmp_path / "server.crt").write_text("")
    result = run("certs", "create", tmp_path)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)


async def test_a_client_of_ones_own(tmp_path: Path) -> None:
    """`--client` writes a pair that the authority's servers take, with the name and the URIs that were asked for."""
    uri = "spiffe://acme.test/robot"
    out = succeed("certs", "create", tmp_path, "--client", "robot-7", "--uri", uri)
    assert out.splitlines()[-2:] == ["wrote clients/robot-7.crt", "wrote clients/robot-7.key"]
    found = read_certificate(ssl.PEM_cert_to_DER_cert((tmp_path / "clients/robot-7.crt").read_text()))  # fmt: skip
    assert found is not None
    assert (found.common_names, found.san_uri, found.san_dns) == (("robot-7",), (uri,), ())
    assert (tmp_path / "clients/robot-7.key").stat().st_mode & 0o777 == 0o600
    shown = (tmp_path / "clients/robot-7.crt", tmp_path / "clients/robot-7.key")
    assert await handshake(tmp_path, "localhost", shown) == "TLSv1.3"


def test_a_client_is_never_overwritten(tmp_path: Path) -> None:
    """A second one of the same name is kept; where it is not for what was asked for, that is said."""
    succeed("certs", "create", tmp_path, "--client", "robot", "--uri", "spiffe://acme.test/Robot")
    before = (tmp_path / "clients/robot.crt").read_bytes()
    again = succeed("certs", "create", tmp_path, "--client", "robot", "--uri", "spiffe://acme.test/Robot")  # fmt: skip
    assert again.count("kept ") == 6
    done = run(
        "certs", "create", tmp_path, "--client", "robot", "--uri", "spiffe://acme.test/admin"
    )
    assert done.exit_code == 1
    assert "not for spiffe://acme.test/admin" in done.output
    assert (tmp_path / "clients/robot.crt").read_bytes() == before


def test_an_authority_whose_key_is_elsewhere_signs_no_client(tmp_path: Path) -> None:
    """It may have been taken to a safer place: the servers' certificate is kept, and a client's is not made."""
    succeed("certs", "create", tmp_path)
    (tmp_path / "ca.key").unlink()
    done = run("certs", "create", tmp_path, "--client", "robot")
    assert done.exit_code == 1
    assert "ca.key cannot be read" in done.output
    assert not (tmp_path / "clients").exists()


@pytest.mark.parametrize(
    "options",
    [("--uri", "spiffe://a.test/b"), ("--client", "../x"), ("--client", ""), ("--client", "a", "--uri", "no uri"), ("--client", "a", "--uri", "x:ä")],
)  # fmt: skip
def test_what_a_client_cannot_be(tmp_path: Path, options: tuple[str, ...]) -> None:
    """Names that are no file's, URIs that are none: wrong usage, before anything is written."""
    assert run("certs", "create", tmp_path, *options).exit_code == 2
    assert list(tmp_path.iterdir()) == []
