"""`authproxy key`: a key is shown once; lists and revocations go by its id."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from authproxy.authn.api_keys import new_key
from authproxy.model.errors import ConfigError
from tests.cli.program import run, succeed


def configured(folder: Path, **changes: Any) -> Path:
    """What `init` writes, with an authenticator for keys."""
    succeed("init", folder)
    file = folder / "authproxy.yaml"
    settings = yaml.safe_load(file.read_text())
    settings["authenticators"]["keys"] = {"type": "api-key"}
    settings.setdefault("state", {"url": "lmdb:state"})
    file.write_text(yaml.safe_dump({**settings, **changes}, sort_keys=False))
    return file


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return configured(tmp_path)


def create(config: Path, *args: str) -> str:
    return succeed("key", "create", *args, "--config", config).strip()


def listed(config: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(
        succeed("key", "list", "--format", "json", "--config", config)
    )
    return found


def test_a_key_and_nothing_else(config: Path) -> None:
    """On stdout there is the key; what was said of it is in the list, and the key is in it nowhere."""
    args = [
        "nightly",
        "--subject",
        "ann",
        "--group",
        "ops",
        "--group",
        "ops",
        "--scope",
        "a b",
        "--email",
        "e@x.test",
    ]
    result = run("key", "create", *args, "--ttl", "12h", "--config", config)
    key = result.stdout.strip()
    assert (result.exit_code, result.stderr) == (0, "")
    assert re.fullmatch(r"apk_[0-9A-Za-z]{49}", key)
    found = listed(config)
    assert len(found) == 1
    one = found[0]
    assert (one["name"], one["subject"], one["groups"], one["scopes"], one["email"]) == (
        "nightly", "ann", ["ops"], ["a", "b"], "e@x.test",
    )  # fmt: skip
    assert (one["state"], one["authenticator"], one["used"]) == ("good", "keys", None)
    assert one["created"] < one["expires"]
    table = succeed("key", "list", "--config", config)
    assert key[4:16] not in table + json.dumps(found)
    assert re.search(rf"{one['id']}  good +nightly  ann +ops +a,b .* never$", table, re.MULTILINE)
    for file in (config.parent / "state").rglob("*"):
        if file.is_file():
            assert key.encode() not in file.read_bytes()


def test_a_name_or_a_subject(config: Path) -> None:
    """Either says both."""
    create(config, "build")
    create(config, "--subject", "bob", "--ttl", "never")
    assert [(one["name"], one["subject"], one["expires"] is None) for one in listed(config)] == [
        ("build", "build", False), ("bob", "bob", True),
    ]  # fmt: skip


def test_the_configuration_takes_a_key_until_it_is_revoked(config: Path) -> None:
    """`token verify` and `policy explain` look into the same state."""
    key = create(config, "build", "--group", "staff")
    good = run("token", "verify", "-", "--config", config, given=key)
    assert good.stdout.splitlines()[:4] == [
        "verdict: good", "authenticator: keys", "subject: build", "groups: staff",
    ]  # fmt: skip
    key_id = listed(config)[0]["id"]
    assert (
        succeed("key", "revoke", key_id.upper(), "--config", config) == "revoked build of build\n"
    )
    assert succeed("key", "revoke", key_id, "--config", config) == "revoked build of build\n"
    assert listed(config)[0]["state"] == "revoked"
    gone = run("token", "verify", "-", "--config", config, given=key)
    assert gone.exit_code == 1
    assert gone.stdout.startswith("verdict: token_revoked\nauthenticator: keys\nreason: api-key: ")
    wrong = run("token", "verify", "-", "--config", config, given=key[:-1] + "!")
    assert "checksum" in wrong.stdout
    other = run("key", "revoke", "0" * 16, "--config", config)
    assert (other.exit_code, other.stdout) == (1, "")
    assert "key list" in other.stderr


def test_a_key_is_revoked_by_itself_too(config: Path) -> None:
    """`token revoke` takes whatever `token verify` calls good: one that leaked can be piped in as it was found."""
    key = create(config, "build")
    done = run("token", "revoke", "-", "--config", config, given=key)
    assert (done.exit_code, done.stderr) == (0, "")
    gone = run("token", "verify", "-", "--config", config, given=key)
    assert gone.stdout.startswith("verdict: token_revoked\n")


def test_explain_knows_keys(config: Path) -> None:
    """A key is presented as a token is."""
    settings = config.parent / "policies" / "routes.yaml"
    settings.write_text(
        settings.read_text().replace("authenticate: [tokens", "authenticate: [keys, tokens")
    )
    key = create(config, "build", "--group", "admins")
    text = succeed(
        "policy", "explain", "GET", "https://localhost/admin/x", "--token", key, "--config", config
    )
    assert 'identity: build by keys, groups ["admins"]' in text
    assert text.endswith("verdict: allow\n")
    assert key not in text


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ([], "NAME"), (["a", "--ttl", "soon"], "never"), (["a", "--ttl", "0s"], "100 years"), (["a", "--group", ""], "--group"),
        (["a", "--subject", "x\ny"], "--subject"), (["a" * 257], "NAME"), (["a", "--authenticator", "tokens"], "api-key"),
        (["a", "--authenticator", "none"], "keys"), (["a", "--email", "\u200e"], "--email"), (["a", "--scope", " "], "--scope"),
    ],
)  # fmt: skip
def test_wrong_usage(config: Path, args: list[str], words: str) -> None:
    """Nothing is made, and the option is named."""
    result = run("key", "create", *args, "--config", config)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words in result.stderr
    assert listed(config) == []


@pytest.mark.parametrize("args", [["create", "a"], ["list"], ["revoke", "0" * 16]])
def test_where_no_key_can_be(tmp_path: Path, args: list[str]) -> None:
    """The state of another process, no authenticator for keys, no configuration that can be used: each is said."""
    config = configured(tmp_path, state={"url": "memory:"})
    result = run("key", *args, "--config", config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "cannot be reached" in result.stderr
    config.write_text(
        config.read_text().replace("type: api-key", "type: certificate\n    subject: cn")
    )
    assert "type: api-key" in run("key", *args, "--config", config).stderr
    config.write_text("listeners: 1")
    assert isinstance(run("key", *args, "--config", config).exception, ConfigError)


def test_a_state_that_cannot_be_used(tmp_path: Path) -> None:
    """Exit 1 and why, no traceback."""
    (tmp_path / "file").write_text("")
    config = configured(tmp_path, state={"url": "lmdb:file"})
    result = run("key", "create", "a", "--config", config)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "the state cannot be used" in result.stderr


def test_a_state_that_no_server_has_used(tmp_path: Path) -> None:
    """With nothing configured and nothing there, the key is made, and a line says where: it may be the wrong place."""
    config = configured(tmp_path, state={"on_failure": "refuse"})
    result = run("key", "create", "a", "--config", config)
    assert result.exit_code == 0
    assert "STATE_DIRECTORY" in result.stderr
    assert run("key", "list", "--config", config).stderr == ""


def test_verify_says_that_memory_is_elsewhere(tmp_path: Path) -> None:
    """A key cannot be looked up in another process."""
    config = configured(tmp_path, state={"url": "memory:"})
    result = run("token", "verify", "-", "--config", config, given=new_key())
    assert "the server's own" in result.stdout
