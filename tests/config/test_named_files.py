"""Files that the configuration names: whole, or not at all."""

from pathlib import Path

import pytest

from authproxy.config.named_files import read_named
from tests.cli.program import run, succeed


def test_a_file_is_read_up_to_its_bound(tmp_path: Path) -> None:
    """One byte more is an error that says so, and nothing of it is taken."""
    file = tmp_path / "file"
    file.write_bytes(b"12345678")
    assert read_named(file, 8) == b"12345678"
    with pytest.raises(OSError, match="File too large"):
        read_named(file, 7)


def test_what_has_no_end_is_an_error() -> None:
    """A device takes no more memory than a file may."""
    with pytest.raises(OSError, match="File too large"):
        read_named(Path("/dev/zero"))


@pytest.mark.parametrize(
    "named",
    ["certs/jwks.json", "certs/assertion.pem", "certs/server.crt", "certs/server.key", "certs/clients-ca.crt", "users.yaml"],
)  # fmt: skip
def test_a_named_file_without_end_is_a_problem_of_the_configuration(
    tmp_path: Path, named: str
) -> None:
    """`check` names it, whichever it is, as any other that cannot be used."""
    succeed("init", tmp_path)
    config = tmp_path / "authproxy.yaml"
    text = config.read_text().replace(
        "    tls:\n",
        "    tls:\n      client_certificates: {authorities: certs/clients-ca.crt, mode: optional}\n",
    )
    config.write_text(
        text
        + "identity: {assertion: {enabled: true, issuer: https://localhost:8443, key: {file: certs/assertion.pem}}}\n"
    )
    authorities = tmp_path / "certs/clients-ca.crt"
    authorities.write_bytes((tmp_path / "certs/ca.crt").read_bytes())
    assert succeed("check", "--config", config) == ""
    file = tmp_path / named
    file.unlink()
    file.symlink_to("/dev/zero")
    done = run("check", "--config", config)
    assert (done.exit_code, done.exception is None or isinstance(done.exception, SystemExit)) == (
        1,
        True,
    )
    assert "error:" in done.stdout
