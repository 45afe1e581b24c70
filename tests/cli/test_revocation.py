"""The revocation list from outside: what is put on it, what is told of it, and what is refused rather than lost."""

import asyncio
import os
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from authproxy.authn.revocation import KIND, SLACK, Revocations
from authproxy.cli.revocation import known_revocations
from authproxy.config.load import load
from authproxy.state.lmdb_records import LmdbRecords
from tests.cli.program import run, succeed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    """What `init` writes, with its state where it is said to be."""
    succeed("init", tmp_path)
    return change(tmp_path / "authproxy.yaml", state={"url": "lmdb:kept"})


def change(file: Path, **parts: Any) -> Path:
    settings = yaml.safe_load(file.read_text())
    settings.update(parts)
    file.write_text(yaml.safe_dump(settings, sort_keys=False))
    return file


def issue(config: Path, *args: str, subject: str = "ann") -> str:
    return succeed("token", "issue", "--subject", subject, *args, "--config", config).strip()


def verdict(config: Path, token: str) -> str:
    result = run("token", "verify", "-", "--config", config, given=token)
    first = result.stdout.splitlines()[0]
    assert (result.exit_code == 0) == (first == "verdict: good")
    return first.removeprefix("verdict: ")


def entries(config: Path) -> list[float]:
    """When what is on the list ends, the slack left out."""
    records = LmdbRecords(config.parent / "kept")
    found = asyncio.run(records.since(KIND, 0, time.time()))
    records.close()
    return [record.expiry - SLACK for record in found]


def in_time(**how: float) -> str:
    return f"{datetime.now(UTC) + timedelta(**how):%Y-%m-%dT%H:%M:%SZ}"


def test_a_token_is_revoked_until_it_ends(config: Path) -> None:
    """It is verified first; afterwards `verify` says token_revoked, and another token of the subject stays good."""
    token, other = issue(config, "--ttl", "10m"), issue(config)
    out = succeed("token", "revoke", "-", "--config", config, given=token)
    assert out.startswith("revoked: the token of `ann`, for tokens, until ")
    assert token not in out
    assert (verdict(config, token), verdict(config, other)) == ("token_revoked", "good")
    (until,) = entries(config)
    assert 625 < until - time.time() < 631  # the leeway is in it
    succeed("token", "revoke", token, "--config", config)
    assert entries(config) == [until]


def test_every_authenticator_that_takes_it_is_meant(config: Path) -> None:
    """A token that two authenticators read from different places is good at neither."""
    settings = yaml.safe_load(config.read_text())
    tokens = settings["authenticators"]["tokens"]
    cookie = {**tokens, "token_from": [{"cookie": "t"}]}
    del cookie["issue_with"]
    change(config, authenticators={**settings["authenticators"], "cookies": cookie})
    token = issue(config)
    out = succeed("token", "revoke", token, "--config", config)
    assert "for tokens, cookies, until" in out
    assert len(entries(config)) == 2
    assert verdict(config, token) == "token_revoked"


@pytest.mark.parametrize("spoil", ["forged", "foreign", "expired", "garbage"])
def test_what_is_not_good_is_not_put_on_the_list(config: Path, tmp_path: Path, spoil: str) -> None:
    """A forged, foreign or expired token is refused with exit 1 and why; the list stays as it was."""
    succeed("init", tmp_path / "other")
    tokens: dict[str, Callable[[], str]] = {
        "forged": lambda: issue(config)[:-8] + "AAAAAAAA",
        "foreign": lambda: issue(tmp_path / "other" / "authproxy.yaml"),
        "expired": lambda: issue(config, "--claim", "exp=1000000000"),
        "garbage": lambda: "garbage",
    }
    result = run("token", "revoke", "-", "--config", config, given=tokens[spoil]())
    assert (result.exit_code, result.stdout) == (1, "")
    code = "token_expired" if spoil == "expired" else "token_invalid"
    assert f"the token is not good, so it is not revoked: {code}" in result.stderr
    assert not (config.parent / "kept").exists()


def test_a_jti_is_revoked_until_it_is_said_to_end(config: Path) -> None:
    """For its authenticator, and the leeway longer."""
    token = issue(config, "--claim", 'jti="j-1"')
    args = ("--jti", "j-1", "--authenticator", "tokens", "--until", in_time(hours=1))
    out = succeed("token", "revoke", *args, "--config", config)
    assert "the token with jti `j-1`, for tokens, until " in out
    assert verdict(config, token) == "token_revoked"
    assert 3620 < entries(config)[0] - time.time() < 3631


def test_a_subject_is_revoked_until_now(config: Path) -> None:
    """All that was issued; a later token is good; kept for a year, or as long as is said."""
    now = int(time.time())
    before, later = (issue(config, "--claim", f"iat={now + away}") for away in (-5, 5))
    args = ("--subject", "ann", "--authenticator", "tokens", "--config", config)
    out = succeed("token", "revoke", *args)
    assert "revoked: all that `ann` was issued until " in out
    assert entries(config)[0] - time.time() > 364 * 86400
    assert verdict(config, before) == "token_revoked"
    assert verdict(config, later) == "good"
    assert verdict(config, issue(config, subject="bob")) == "good"


@pytest.mark.parametrize(
    "args",
    [
        ["--subject", "ann"],
        ["--jti", "j", "--authenticator", "tokens"],
        ["--jti", "j", "--until", "2999-01-01T00:00:00Z"],
        ["--subject", "ann", "--jti", "j", "--authenticator", "tokens"],
        ["TOKEN", "--subject", "ann", "--authenticator", "tokens"],
        ["TOKEN", "--authenticator", "tokens"],
        ["TOKEN", "--until", "2999-01-01T00:00:00Z"],
        ["--subject", "ann", "--authenticator", "nobody"],
        ["--subject", "", "--authenticator", "tokens"],
        ["--subject", "ann", "--authenticator", "tokens", "--until", "2001-01-01T00:00:00Z"],
        ["--subject", "ann", "--authenticator", "tokens", "--until", "2999-01-01T00:00:00"],
        ["--subject", "ann", "--authenticator", "tokens", "--until", "tomorrow"],
    ],
)
def test_wrong_usage_is_exit_2(config: Path, args: list[str]) -> None:
    """What contradicts itself or is not there is refused before anything is written."""
    assert run("token", "revoke", *args, "--config", config).exit_code == 2
    assert not (config.parent / "kept").exists()


def test_memory_cannot_be_reached(config: Path) -> None:
    """With `memory:` nothing is revoked, and that is said; `verify` says that it did not look."""
    token = issue(change(config, state={"url": "memory:"}))
    result = run("token", "revoke", "-", "--config", config, given=token)
    assert result.exit_code == 1
    assert "cannot be reached: use lmdb:DIR" in result.stderr
    verified = run("token", "verify", "-", "--config", config, given=token)
    assert verified.exit_code == 0
    assert "the revocation list was not looked at" in verified.stderr


def test_nothing_is_written_where_no_server_reads(config: Path) -> None:
    """A state directory that only the service's environment names is asked for, not made up."""
    token = issue(change(config, state={}))
    result = run("token", "revoke", "-", "--config", config, given=token)
    assert result.exit_code == 1
    assert "no server has kept its state in" in result.stderr
    (config.parent / "state").mkdir()
    succeed("token", "revoke", "-", "--config", config, given=token)
    assert verdict(config, token) == "token_revoked"


def test_records_that_cannot_be_used_are_said_so(config: Path) -> None:
    """Damaged records: nothing is revoked, exit 1; who only asks is told that the list was not looked at."""
    token = issue(config)
    (config.parent / "kept" / "records").mkdir(parents=True)
    (config.parent / "kept" / "records" / "data.mdb").write_bytes(b"garbage" * 4096)
    result = run("token", "revoke", "-", "--config", config, given=token)
    assert result.exit_code == 1
    assert "damaged" in result.stderr
    verified = run("token", "verify", "-", "--config", config, given=token)
    assert (verified.exit_code, "damaged" in verified.stderr) == (0, True)


def test_asking_makes_no_files(config: Path) -> None:
    """Where nobody ever wrote there is nothing to read, and nothing is made."""
    found, unread = known_revocations(load(config), os.environ, time.time())
    assert (len(found), unread, found.known) == (0, "", True)
    assert isinstance(found, Revocations)
    assert not (config.parent / "kept").exists()


def test_explain_tells_of_it(config: Path) -> None:
    """`policy explain --token` comes to the server's verdict."""
    token = issue(config, "--group", "eng")
    url = "https://localhost/orders/1"
    before = succeed("policy", "explain", "GET", url, "--token", token, "--config", config)
    succeed("token", "revoke", token, "--config", config)
    after = succeed("policy", "explain", "GET", url, "--token", token, "--config", config)
    assert before.strip().endswith("verdict: allow")
    assert after.strip().endswith("verdict: token_revoked")
