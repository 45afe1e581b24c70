"""`authproxy session`: beside a running server, on the same state."""

import asyncio
import json
import re
import time
from pathlib import Path

import pytest

from authproxy.authn.sessions import Sessions
from authproxy.state.opening import open_records
from authproxy.state.redis_records import RedisRecords
from tests.cli.program import run, succeed
from tests.end_to_end.served import free_port
from tests.redis_server import emptied


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


def test_sessions_are_listed_for_programs(config: Path) -> None:
    """As JSON: the same, under names; an empty list where there is none."""
    at = ("--format", "json", "--config", config)
    assert json.loads(succeed("session", "list", *at)) == []
    ids = begin(config, "ann")
    said = succeed("session", "list", *at)
    [one] = json.loads(said)
    assert (one["subject"], one["authenticator"]) == ("ann", "staff")
    assert list(one) == ["id", "subject", "authenticator", "created", "used"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", one["created"])
    assert ids[0] not in said
    assert (
        succeed("session", "revoke", "--id", one["id"], "--config", config) == "ended 1 session\n"
    )


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


def test_sessions_in_a_redis(config: Path) -> None:
    """The commands work on the Redis of the configuration, from any machine that has it."""
    server = emptied()
    config.write_text(config.read_text() + f"\nstate: {{url: '{server.url}', timeout: 5s}}\n")
    records = RedisRecords(server.access())

    async def create() -> None:
        await Sessions(records, 1800.0, 43_200.0).create("staff", "ann", {}, time.time())

    asyncio.run(create())
    records.close()
    at = ("--config", config)
    assert succeed("session", "list", *at).split("\t")[1:3] == ["ann", "staff"]
    who = ("--subject", "ann", "--authenticator", "staff")
    assert succeed("session", "revoke", *who, *at) == "ended 1 session\n"
    assert succeed("session", "list", *at) == ""
    token = succeed("token", "issue", "--subject", "eve", *at).strip()
    assert succeed("token", "verify", token, *at).startswith("verdict: good\n")
    succeed("token", "revoke", token, *at)
    assert run("token", "verify", token, *at).stdout.startswith("verdict: token_revoked\n")


def test_a_redis_that_is_away_is_said(config: Path) -> None:
    """Nothing is thought to be revoked that is not."""
    config.write_text(config.read_text() + f"\nstate: {{url: 'redis://127.0.0.1:{free_port()}'}}\n")
    for command in (["session", "list"], ["token", "revoke", "--jti", "x", "--authenticator", "tokens", "--until", "2999-01-01T00:00:00Z"]):  # fmt: skip
        result = run(*command, "--config", config)
        assert (result.exit_code, "redis://127.0.0.1" in result.stderr) == (1, True)
