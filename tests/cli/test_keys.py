"""`authproxy keys`."""

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authproxy.cli.keys import Algorithm
from authproxy.config.authenticators import ASYMMETRIC, SYMMETRIC
from authproxy.model.errors import ConfigError
from tests.cli.program import run, succeed


def test_every_algorithm_of_the_configuration() -> None:
    """What a configuration may name, a key can be made for."""
    assert [a.value for a in Algorithm] == [*ASYMMETRIC, *SYMMETRIC]


@pytest.mark.parametrize("algorithm", ["RS256", "ES384", "EdDSA"])
def test_prints_a_private_key(algorithm: str) -> None:
    """Without --out the key itself is printed, as PEM."""
    pem = succeed("keys", "generate", "--algorithm", algorithm).encode()
    assert load_pem_private_key(pem, None) is not None


def test_a_secret_is_long_enough() -> None:
    """For HS* a random text of at least 64 bytes is printed."""
    assert len(succeed("keys", "generate", "--algorithm", "HS512").strip()) >= 64


def test_writes_a_private_file_once(tmp_path: Path) -> None:
    """--out makes a 0600 file and says nothing of the key; one that exists is kept, with exit 1."""
    file = tmp_path / "key.pem"
    assert succeed("keys", "generate", "--out", file) == f"wrote {file}\n"
    assert file.stat().st_mode & 0o777 == 0o600
    before = file.read_bytes()
    result = run("keys", "generate", "--out", file)
    assert (result.exit_code, file.read_bytes()) == (1, before)
    assert str(file) in result.stderr


def test_an_unknown_algorithm_is_wrong_usage() -> None:
    """`none` is no algorithm: exit 2."""
    assert run("keys", "generate", "--algorithm", "none").exit_code == 2


def test_jwks_are_what_the_proxy_verifies_with(tmp_path: Path) -> None:
    """The JWKS of the signing key is what `init` wrote, and nothing private is in it."""
    succeed("init", tmp_path)
    found = json.loads(succeed("keys", "jwks", "--config", tmp_path / "authproxy.yaml"))
    assert found == json.loads((tmp_path / "certs" / "jwks.json").read_bytes())
    assert not {"d", "p", "q", "k"} & set(found["keys"][0])


def test_jwks_without_signing_keys(tmp_path: Path) -> None:
    """Where nothing can sign, there is no key set to print: exit 1 and what to do."""
    succeed("init", tmp_path)
    config = tmp_path / "authproxy.yaml"
    config.write_text(config.read_text().replace("    issue_with: {file: certs/", "    # {"))
    result = run("keys", "jwks", "--config", config)
    assert result.exit_code == 1
    assert "issue_with" in result.stderr


@pytest.mark.parametrize("content", [None, "no key"])
def test_a_signing_key_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    """A signing key that is missing or broken is a problem of the configuration, at its place."""
    succeed("init", tmp_path)
    key = tmp_path / "certs" / "token-signing.pem"
    key.unlink()
    if content is not None:
        key.write_text(content)
    result = run("keys", "jwks", "--config", tmp_path / "authproxy.yaml")
    assert isinstance(result.exception, ConfigError)
    (problem,) = result.exception.problems
    line = (tmp_path / "authproxy.yaml").read_text().splitlines()[problem.line - 1]
    assert "issue_with" in line
