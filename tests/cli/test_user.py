"""`authproxy user`."""

import json
from pathlib import Path

import pytest
import yaml

from authproxy.config.users import read_users_file
from tests.cli.program import run, succeed

PASSWORD = "correct horse battery"


@pytest.fixture
def config(tmp_path: Path) -> Path:
    succeed("init", tmp_path)
    return tmp_path / "authproxy.yaml"


def test_init_makes_a_user_whose_password_is_shown_once(tmp_path: Path) -> None:
    """The file holds its hash, and nobody else can read it; a second `init` keeps it and shows nothing."""
    said = succeed("init", tmp_path)
    password = said.partition("has the password ")[2].split()[0]
    file = tmp_path / "users.yaml"
    assert len(password) == 20
    assert password not in file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert "password" not in succeed("init", tmp_path)


def test_users_come_and_go(config: Path) -> None:
    """Added with groups and address, listed, given another password, removed."""
    at = ("--config", config)
    succeed(
        "user",
        "add",
        "ann",
        "--group",
        "eng",
        "--group",
        "ops",
        "--email",
        "a@x.test",
        *at,
        given=PASSWORD + "\n",
    )
    file = config.parent / "users.yaml"
    first = read_users_file(file).by_name["ann"]
    assert (first.groups, first.email) == (["eng", "ops"], "a@x.test")
    assert "ann\teng,ops\ta@x.test\n" in succeed("user", "list", *at)
    succeed("user", "passwd", "ANN", *at, given="another " + PASSWORD)
    assert read_users_file(file).by_name["ann"].password != first.password
    succeed("user", "remove", "Ann", *at)
    assert "ann" not in succeed("user", "list", *at)
    assert PASSWORD not in file.read_text()


def test_users_are_listed_for_programs(config: Path) -> None:
    """As JSON: what the text says, under names, and when the password last changed; no hash and no secret of codes."""
    at = ("--config", config)
    succeed("user", "add", "ann", "--group", "eng", *at, given=PASSWORD + "\n")
    file = config.parent / "users.yaml"
    users = yaml.safe_load(file.read_text())
    users["users"]["ann"] |= {"disabled": True, "totp": "JBSWY3DPEHPK3PXPJBSWY3DPEH", "name": "Ann"}
    users["users"]["ann"]["changed"] = "2026-11-27T10:00:00+02:00"
    file.write_text(yaml.safe_dump(users))
    said = succeed("user", "list", "--format", "json", *at)
    assert json.loads(said)[-1] == {
        "name": "ann",
        "groups": ["eng"],
        "email": None,
        "full_name": "Ann",
        "totp": True,
        "disabled": True,
        "changed": "2026-11-27T08:00:00Z",
    }
    assert "argon2" not in said
    assert "JBSWY3DP" not in said


@pytest.mark.parametrize(
    ("arguments", "given", "said"),
    [
        (["add", "admin"], PASSWORD, "is there already"), (["add", "ADMIN"], PASSWORD, "is there already"),
        (["add", "ann"], "short", "at least 8"), (["add", "ann"], "", "at least 8"), (["add", "ann"], "a" * 2000, "1 to 1024"),
        (["passwd", "eve"], PASSWORD, "no user eve"), (["remove", "eve"], "", "no user eve"),
        (["add", "ann", "--authenticator", "tokens"], PASSWORD, "no authenticator of the type password"),
    ],
)  # fmt: skip
def test_what_cannot_be_done_changes_nothing(
    config: Path, arguments: list[str], given: str, said: str
) -> None:
    """Exit 1, with what to do; the file stays as it was."""
    before = (config.parent / "users.yaml").read_bytes()
    result = run("user", *arguments, "--config", config, given=given)
    assert (result.exit_code, said in result.stderr) == (1, True), result.stderr
    assert (config.parent / "users.yaml").read_bytes() == before


def test_a_bad_name_is_a_problem_of_the_file(config: Path) -> None:
    """What nobody could type or see is no name."""
    result = run("user", "add", "a\u202eb", "--config", config, given=PASSWORD)
    assert result.exception is not None
    assert "ann" not in (config.parent / "users.yaml").read_text()


def test_without_a_password_authenticator(config: Path) -> None:
    """There is nothing to keep users for: exit 1."""
    text = "\n".join(line for line in config.read_text().splitlines() if "staff" not in line)
    config.write_text(text)
    policies = config.parent / "policies" / "routes.yaml"
    policies.write_text(policies.read_text().replace(", staff]", "]"))
    result = run("user", "list", "--config", config)
    assert (result.exit_code, "there is none" in result.stderr) == (1, True)
