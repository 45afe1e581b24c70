"""What belongs together is made together, and what exists is never completed with what would not fit."""

import json
from pathlib import Path

import pytest

from authproxy.authn.issue import generate_key, public_jwks
from authproxy.cli.provisioning import provide_certificates, provide_key, provide_token_keys
from authproxy.cli.writing import Report, Unwritable


def certificates(folder: Path) -> list[str]:
    report = Report(folder)
    provide_certificates(report)
    return report.lines


def token_keys(folder: Path) -> list[str]:
    report = Report(folder)
    provide_token_keys(report, "signing.pem", "jwks.json", "ES256")
    return report.lines


def test_the_authority_that_is_there_signs(tmp_path: Path) -> None:
    """A missing server certificate is signed by the authority that exists."""
    certificates(tmp_path)
    authority = (tmp_path / "ca.crt").read_bytes()
    (tmp_path / "server.crt").unlink()
    (tmp_path / "server.key").unlink()
    assert certificates(tmp_path) == [
        "kept ca.crt (it exists)",
        "kept ca.key (it exists)",
        "wrote server.crt",
        "wrote server.key",
    ]
    assert (tmp_path / "ca.crt").read_bytes() == authority


def test_the_authoritys_key_may_be_elsewhere(tmp_path: Path) -> None:
    """With a server certificate there, no authority is needed and none is made."""
    certificates(tmp_path)
    (tmp_path / "ca.key").unlink()
    certificates(tmp_path)
    assert not (tmp_path / "ca.key").exists()


@pytest.mark.parametrize("gone", ["server.key", "server.crt"])
def test_half_a_pair_is_an_error(tmp_path: Path, gone: str) -> None:
    """A certificate without its key, or the other way round, stops everything and is named."""
    certificates(tmp_path)
    (tmp_path / gone).unlink()
    with pytest.raises(Unwritable, match=f"without {gone}"):
        certificates(tmp_path)
    assert not (tmp_path / gone).exists()


def test_half_an_authority_is_an_error(tmp_path: Path) -> None:
    """Without the authority's key nothing can be signed, and no second authority is made beside it."""
    certificates(tmp_path)
    for name in ("ca.key", "server.crt", "server.key"):
        (tmp_path / name).unlink()
    with pytest.raises(Unwritable, match=r"without ca\.key"):
        certificates(tmp_path)


def test_an_authority_that_is_none(tmp_path: Path) -> None:
    """Files that hold no authority are named."""
    (tmp_path / "ca.crt").write_text("x")
    (tmp_path / "ca.key").write_text("x")
    with pytest.raises(Unwritable, match=r"ca\.crt: .*not PEM"):
        certificates(tmp_path)


def test_the_key_set_belongs_to_the_key(tmp_path: Path) -> None:
    """A missing key set is made from the signing key that exists."""
    key = generate_key("ES256")
    (tmp_path / "signing.pem").write_bytes(key)
    assert token_keys(tmp_path) == ["kept signing.pem (it exists)", "wrote jwks.json"]
    assert json.loads((tmp_path / "jwks.json").read_bytes()) == public_jwks([key], ["ES256"])


def test_somebody_elses_key_set_is_left_alone(tmp_path: Path) -> None:
    """Beside a key set without its signing key no key is made: its tokens would be refused."""
    (tmp_path / "jwks.json").write_text("{}")
    assert token_keys(tmp_path) == [
        "kept jwks.json (it exists)",
        "made no signing.pem: it would not be in jwks.json",
    ]
    assert not (tmp_path / "signing.pem").exists()


def test_a_signing_key_that_is_none(tmp_path: Path) -> None:
    """A signing key that cannot be read as one is named."""
    (tmp_path / "signing.pem").write_text("x")
    with pytest.raises(Unwritable, match=r"signing\.pem: "):
        token_keys(tmp_path)


def test_a_key_of_its_own_is_kept(tmp_path: Path) -> None:
    """A key that exists stays as it is."""
    report = Report(tmp_path)
    provide_key(report, "assertion.pem", "ES256")
    before = (tmp_path / "assertion.pem").read_bytes()
    provide_key(report, "assertion.pem", "ES256")
    assert (tmp_path / "assertion.pem").read_bytes() == before
