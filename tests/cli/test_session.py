"""`authproxy session`: beside a running server, on the same state."""

import asyncio
import time
from pathlib import Path

import pytest

from authproxy.authn.sessions import Sessions
from authproxy.state.opening import open_records
from tests.cli.program import run, succeed


@pytest.fixture
def config(tmp_path: Path) -> Path:
    succeed("init", tmp_path)
    return tmp_path / "authproxy.yaml"


def begin(config: Path, *subjects: str) -> list[str]:
    """Sessions of these subjects, as a server would make them."""
    records = open_records("lmdb:state", config.parent)

    async def create() -> list[str]:
        sessions = Sessions(records, 1800.0, 43_200.0)
        return [(await sessions.create("staff", one, {}, time.time()))[0] for one in subjects]

    try:
        return asyncio.run(create())
    finally:
        records.close()


def test_sessions_are_listed_without_their_ids(config: Path) -> None:
    """Who, by whom, since when; nobody gets in by what is printed."""
    ids = begin(config, "ann", "bob")
    said = succeed("session", "list", "--config", config)
    rows = [line.split("\t") for line in said.splitlines()]
    assert [row[1:3] for row in rows] == [["ann", "staff"], ["bob", "staff"]]
    assert not any(one in said for one in ids)


def test_sessions_are_ended_by_id_or_by_subject(config: Path) -> None:
    """One, or all of somebody's; others go on."""
    begin(config, "ann", "ann", "bob")
    at = ("--config", config)
    first = succeed("session", "list", *at).split("\t")[0]
    assert succeed("session", "revoke", "--id", first, *at) == "ended 1 session\n"
    assert run("session", "revoke", "--id", first, *at).exit_code == 1
    who = ("--subject", "ann", "--authenticator", "staff")
    assert succeed("session", "revoke", *who, *at) == "ended 1 session\n"
    assert succeed("session", "revoke", *who, *at) == "ended 0 sessions\n"
    assert [line.split("\t")[1] for line in succeed("session", "list", *at).splitlines()] == ["bob"]


@pytest.mark.parametrize(
    "wrong", [[], ["--subject", "ann"], ["--authenticator", "a"], ["--id", "x", "--subject", "s", "--authenticator", "a"]]
)  # fmt: skip
def test_what_is_meant_must_be_clear(config: Path, wrong: list[str]) -> None:
    """Wrong usage is exit 2."""
    assert run("session", "revoke", *wrong, "--config", config).exit_code == 2


def test_memory_is_the_servers_own(config: Path) -> None:
    """A command beside it cannot reach it, and says so."""
    config.write_text(config.read_text() + "\nstate: {url: 'memory:'}\n")
    result = run("session", "list", "--config", config)
    assert (result.exit_code, "memory:" in result.stderr) == (1, True)
