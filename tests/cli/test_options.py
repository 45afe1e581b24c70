"""Which configuration a command takes when it is not told."""

from pathlib import Path

import pytest

from tests.cli.test_policy_test import GOOD, write
from tests.end_to_end.served import run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a configuration whose tests hold."""
    write(tmp_path, *GOOD)
    return tmp_path


def test_the_one_in_this_folder(folder: Path) -> None:
    """Without a word it is ./authproxy.yaml."""
    assert run("policy", "test", cwd=folder).stdout.endswith("6 passed, 0 failed\n")


def test_the_one_that_is_named(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """--config names it, from wherever, and so does $AUTHPROXY_CONFIG; the option comes first."""
    elsewhere, file = tmp_path_factory.mktemp("elsewhere"), str(folder / "authproxy.yaml")
    for option in ("--config", "-c"):
        assert run("policy", "test", option, file, cwd=elsewhere).returncode == 0
    assert run("policy", "test", cwd=elsewhere, AUTHPROXY_CONFIG=file).returncode == 0
    both = run("policy", "test", "--config", file, cwd=elsewhere, AUTHPROXY_CONFIG="missing.yaml")
    assert both.returncode == 0


def test_one_that_is_named_must_exist(folder: Path) -> None:
    """A named one that does not exist is an error, although another is there."""
    for done in (
        run("policy", "test", "--config", "missing.yaml", cwd=folder),
        run("policy", "test", cwd=folder, AUTHPROXY_CONFIG="missing.yaml"),
    ):
        assert done.returncode == 78
        assert "missing.yaml" in done.stderr


def test_none_is_said(tmp_path: Path) -> None:
    """Where there is none the error says where was looked, and what makes one."""
    done = run("policy", "test", cwd=tmp_path)
    assert done.returncode == 78
    assert "authproxy.yaml" in done.stderr
    assert "authproxy init" in done.stderr


def test_an_authenticator_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    """A name with a typing error must not pass for a refusal, or for nobody's sessions."""
    assert run("init", ".", cwd=tmp_path).returncode == 0
    named = ("--authenticator", "token")
    for words in (
        ("policy", "what", "--group", "admins"),
        ("session", "revoke", "--subject", "ann"),
        ("token", "revoke", "--subject", "ann"),
    ):
        done = run(*words, *named, cwd=tmp_path)
        assert done.returncode == 2
        assert "there is no `token`; there is: tokens, staff" in done.stderr
    explain = ("policy", "explain", "GET", "https://localhost/", "--subject", "ann")
    done = run(*explain, *named, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        0,
        "authproxy: the configuration has no authenticator `token`\n",
    )
