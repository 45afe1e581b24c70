"""What `doctor` asks of the Redis of the state."""

from pathlib import Path

import pytest

from authproxy.cli.doctor_findings import Finding
from authproxy.cli.doctor_state import _is_here, state
from authproxy.runtime import verification
from tests.playbook import GUARDED, configuration, write_files
from tests.redis_server import RedisServer, emptied


async def said(folder: Path, url: str) -> list[Finding]:
    """What is said of a configuration with this state."""
    settings = {"url": url, "timeout": "5s"}
    loaded = write_files(folder, configuration("http://127.0.0.1:9", state=settings), [GUARDED])
    return [one async for one in state(verification(loaded, {}))]


async def test_a_redis_that_answers_is_well(tmp_path: Path) -> None:
    """With the time that it took."""
    [found] = await said(tmp_path, emptied().url)
    assert (found.kind in {"ok", "note"}, "answers in" in found.text) == (True, True)


async def test_a_redis_that_is_away_is_a_problem(tmp_path: Path) -> None:
    """In words that name it."""
    server = RedisServer()
    server.close()
    [found] = await said(tmp_path, server.url)
    assert (found.kind, found.code) == ("problem", "state")
    assert server.url in found.text


async def test_a_redis_that_evicts_is_a_problem(tmp_path: Path) -> None:
    """It would forget revocations in silence."""
    server = RedisServer("--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
    try:
        found = await said(tmp_path, server.url)
    finally:
        server.close()
    assert ("problem", "state-evicts") in [(one.kind, one.code) for one in found]


async def test_other_states_are_not_asked(tmp_path: Path) -> None:
    """Nothing is made, nothing is said."""
    assert await said(tmp_path, "lmdb:state") == []
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("::1", True),
        ("10.0.0.1", False),
        ("r.test", False),
    ],
)
def test_what_is_on_this_machine(host: str, here: bool) -> None:
    """Only there a connection in clear is nobody else's."""
    assert _is_here(host) is here
