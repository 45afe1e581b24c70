"""Signing keys as the configuration names them."""

import time
from pathlib import Path

import pytest

from authproxy.authn.issue import generate_key
from authproxy.cli.signing import Wanted, issuing, mint, signing_jwks
from authproxy.config.load import Loaded, load
from authproxy.model.errors import ConfigError
from tests.cli.program import succeed

SECRET = """
listeners: [{address: "127.0.0.1:0"}]
authenticators:
  hashed:
    type: jwt
    issuer: https://hash.test
    audiences: [app]
    algorithms: [HS256]
    keys: {secret: {file: secret}}
    issue_with: {file: secret}
"""


def hashed(folder: Path, secret: bytes) -> Loaded:
    """A configuration with a secret; it needs a policy file to be usable."""
    (folder / "policies").mkdir()
    (folder / "policies" / "a.yaml").write_text("routes: []\n")
    (folder / "authproxy.yaml").write_text(SECRET)
    (folder / "secret").write_bytes(secret)
    return load(folder / "authproxy.yaml")


def test_a_secrets_newline_is_no_part_of_it(tmp_path: Path) -> None:
    """A token signed with a secret file that ends in a newline is verified, as secrets drop it elsewhere."""
    loaded = hashed(tmp_path, generate_key("HS256") + b"\n")
    token = mint(loaded, "hashed", Wanted("ann"), time.time())
    assert "verdict: good" in succeed("token", "verify", "--config", loaded.file, given=token)


def test_secrets_are_in_no_key_set(tmp_path: Path) -> None:
    """The JWKS of a secret is empty."""
    assert signing_jwks(hashed(tmp_path, generate_key("HS256"))) == {"keys": []}


def test_a_short_secret_is_a_problem_of_the_configuration(tmp_path: Path) -> None:
    """A secret too short to sign with is pointed at, and not shown."""
    loaded = hashed(tmp_path, b"hunter2")
    with pytest.raises(ConfigError, match="too short") as caught:
        mint(loaded, "hashed", Wanted("ann"), 0)
    assert "hunter2" not in str(caught.value)


def test_each_key_once(tmp_path: Path) -> None:
    """Two authenticators that sign with one key have one entry in the key set."""
    succeed("init", tmp_path)
    file = tmp_path / "authproxy.yaml"
    text = file.read_text()
    start, end = text.index("  tokens:\n"), text.index("  # People log in")
    second = text[start:end].replace("tokens:", "more:").replace("issuer.test", "more.test")
    file.write_text(text[:end].rstrip("\n") + "\n" + second + text[end:])
    loaded = load(file)
    assert list(issuing(loaded)) == ["tokens", "more"]
    assert len(signing_jwks(loaded)["keys"]) == 1
