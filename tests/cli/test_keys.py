"""`authproxy keys`."""

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authproxy.authn.issue import public_jwks
from authproxy.authn.keyring import read_keyring
from authproxy.cli.keys import Algorithm
from authproxy.config.authenticators import ASYMMETRIC, SYMMETRIC
from authproxy.model.errors import ConfigError
from tests.authn.tokens import pem_of
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


ASSERTION = "identity: {assertion: {issuer: https://p.test, key: {file: certs/assertion.pem}}}\n"


def asserting(folder: Path) -> Path:
    """A configuration with an assertion key; its file."""
    succeed("init", folder)
    config = folder / "authproxy.yaml"
    config.write_text(config.read_text() + ASSERTION)
    return config


def test_jwks_of_the_assertion(tmp_path: Path) -> None:
    """With --assertion; without it only where nothing else signs, so that the two are never one set."""
    config = asserting(tmp_path)
    tokens = json.loads((tmp_path / "certs" / "jwks.json").read_bytes())
    own = public_jwks([(tmp_path / "certs" / "assertion.pem").read_bytes()], ["ES256"])
    assert json.loads(succeed("keys", "jwks", "--config", config)) == tokens
    assert json.loads(succeed("keys", "jwks", "--assertion", "--config", config)) == own
    config.write_text(config.read_text().replace("    issue_with: {file: certs/", "    # {"))
    assert json.loads(succeed("keys", "jwks", "--config", config)) == own


def test_rotates_step_by_step(tmp_path: Path) -> None:
    """Each call takes the step that is due; one that is not changes nothing, says when, and exits 1."""
    config, key = asserting(tmp_path), tmp_path / "certs" / "assertion.pem"
    before = read_keyring(key.read_bytes()).current.kid
    told = succeed("keys", "rotate", "--config", config)
    assert "published" in told
    current, coming = read_keyring(key.read_bytes()).keys
    assert (current.kid, coming.role, key.stat().st_mode & 0o777) == (before, "next", 0o600)
    content = key.read_bytes()
    early = run("keys", "rotate", "--config", config)
    assert (early.exit_code, early.stdout, key.read_bytes()) == (1, "", content)
    assert "from 20" in early.stderr
    for _ in range(2):
        key.write_bytes(re.sub(rb"since 20\d\d", b"since 2001", key.read_bytes()))
        succeed("keys", "rotate", "--config", config)
    (left,) = read_keyring(key.read_bytes()).keys
    assert left.kid == coming.kid
    assert "PRIVATE" not in told


@pytest.mark.parametrize("content", [None, "no key"])
def test_a_key_that_cannot_be_rotated_is_named(tmp_path: Path, content: str | None) -> None:
    """At its place in the configuration; nothing is written."""
    config, key = asserting(tmp_path), tmp_path / "certs" / "assertion.pem"
    key.unlink()
    if content is not None:
        key.write_text(content)
    result = run("keys", "rotate", "--config", config)
    assert isinstance(result.exception, ConfigError)
    assert not (tmp_path / "certs" / "assertion.pem.new").exists()


def test_keys_of_somebody_else_are_not_rotated(tmp_path: Path) -> None:
    """What the command did not write it does not guess."""
    config, key = asserting(tmp_path), tmp_path / "certs" / "assertion.pem"
    key.write_bytes(key.read_bytes() + pem_of("ES256", 2))
    result = run("keys", "rotate", "--config", config)
    assert result.exit_code == 1
    assert "certs/assertion.pem" in result.stderr


def test_nothing_to_rotate(tmp_path: Path) -> None:
    """Without an assertion key: exit 1, and what to write."""
    succeed("init", tmp_path)
    result = run("keys", "rotate", "--config", tmp_path / "authproxy.yaml")
    assert (result.exit_code, "assertion" in result.stderr) == (1, True)


def test_jwks_of_a_client(tmp_path: Path) -> None:
    """What a provider needs to verify us: the public half, under the name that we sign with; nothing where there is none."""
    (tmp_path / "client.pem").write_bytes(pem_of("ES256"))
    sso = "{type: oidc, issuer: 'https://id.test', client_id: c, private_key: {file: client.pem}}"
    tokens = "{type: oidc, issuer: 'https://id.test', client_id: c, client_authentication: none}"
    config = tmp_path / "authproxy.yaml"
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "routes.yaml").write_text("routes: []\n")
    config.write_text(
        "listeners: [{address: '127.0.0.1:1'}]\nportal: {url: https://login.test}\n"
        f"authenticators: {{sso: {sso}, public: {tokens}}}\n"
    )
    found = json.loads(succeed("keys", "jwks", "--client", "sso", "--config", config))
    assert found == public_jwks([pem_of("ES256")])
    for name in ("public", "nobody"):
        result = run("keys", "jwks", "--client", name, "--config", config)
        assert (result.exit_code, "is no authenticator of the type oidc" in result.stderr) == (
            1,
            True,
        )
    assert run("keys", "jwks", "--client", "sso", "--assertion", "--config", config).exit_code == 2
