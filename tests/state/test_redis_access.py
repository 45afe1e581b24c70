"""How a Redis is reached, as the configuration names it: secrets are read, and behind TLS both sides are always verified."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authproxy.config.state import State
from authproxy.model.errors import ConfigError
from authproxy.model.source import Source
from authproxy.state.opening import open_records, open_store
from authproxy.state.redis import Redis
from authproxy.state.redis_access import redis_access
from authproxy.state.redis_records import RedisRecords
from authproxy.state.redis_store import RedisStore
from authproxy.state.store import StateUnavailable
from tests.end_to_end.credentials import Authority
from tests.end_to_end.served import free_port
from tests.redis_server import RedisServer


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[tuple[int, Path]]:
    """The port of a Redis that wants a certificate of `ca.crt`, and the folder with all files."""
    authority, port = Authority(tmp_path), free_port()
    theirs, ours = authority.issue("redis.test"), authority.issue("proxy.test")
    for file, to in (
        (authority.file, "ca.crt"), (ours.certificate, "proxy.crt"), (ours.private_key, "proxy.key"),
    ):  # fmt: skip
        if Path(file) != tmp_path / to:
            (tmp_path / to).write_bytes(Path(file).read_bytes())
    server = RedisServer(
        "--tls-port", str(port), "--tls-cert-file", str(theirs.certificate), "--tls-key-file", str(theirs.private_key),
        "--tls-ca-cert-file", str(authority.file), "--tls-auth-clients", "yes",
    )  # fmt: skip
    yield port, tmp_path
    server.close()


OURS = {"ca": "ca.crt", "certificate": "proxy.crt", "private_key": "proxy.key"}


async def answered(port: int, folder: Path, **tls: str) -> str:
    """PONG, or why not."""
    state: dict[str, Any] = {"url": f"rediss://127.0.0.1:{port}", "timeout": "5s"}
    if tls:
        state["tls"] = tls
    found = State.model_validate(state)
    access = redis_access(found, Source("authproxy.yaml"), folder, {})
    assert access is not None
    redis = Redis(access, "counters")
    try:
        told: bytes = await redis.call("PING")
    except StateUnavailable as error:
        return str(error)
    finally:
        redis.close()
        await redis.ended()
        for _ in range(
            3
        ):  # a handshake that was broken off closes its socket in the loop's next turns
            await asyncio.sleep(0)
    return told.decode()


async def test_both_sides_are_verified(secured: tuple[int, Path]) -> None:
    """By its name and authority, and with our certificate."""
    port, folder = secured
    assert await answered(port, folder, **OURS, server_name="redis.test") == "PONG"


async def test_another_name_is_refused(secured: tuple[int, Path]) -> None:
    """The certificate is for redis.test, not for the address that was asked."""
    port, folder = secured
    assert "ertificate" in await answered(port, folder, **OURS)


async def test_an_unknown_authority_is_refused(secured: tuple[int, Path]) -> None:
    """The system's authorities have not signed it; there is no way to switch that off."""
    port, folder = secured
    more = {"certificate": "proxy.crt", "private_key": "proxy.key", "server_name": "redis.test"}
    assert "ertificate" in await answered(port, folder, **more)


async def test_who_shows_no_certificate_does_not_get_in(secured: tuple[int, Path]) -> None:
    """A Redis that wants one ends the connection; that is said, and nobody waits for long."""
    port, folder = secured
    assert await answered(port, folder, ca="ca.crt", server_name="redis.test") != "PONG"


@pytest.mark.parametrize(
    ("keys", "code", "path"),
    [
        ({"password": {"env": "ABSENT"}}, "bad-secret", "password"),
        ({"password": {"file": "absent"}}, "bad-secret", "password"),
        ({"tls": {"ca": "absent.crt"}}, "bad-tls", "tls"),
        ({"tls": {"ca": "junk.crt"}}, "bad-tls", "tls"),
    ],
)
def test_what_cannot_be_read_is_a_problem_with_its_place(
    tmp_path: Path, keys: dict[str, Any], code: str, path: str
) -> None:
    """Before the first request, as everything that the configuration names."""
    (tmp_path / "junk.crt").write_text("junk")
    state = State.model_validate({"url": "rediss://r.test", **keys})
    with pytest.raises(ConfigError) as refused:
        redis_access(state, Source("authproxy.yaml"), tmp_path, {})
    [problem] = refused.value.problems
    assert problem.code == code


def test_its_counters_and_records_are_there_too(tmp_path: Path) -> None:
    """The same words open both; nothing is connected to before it is used. A password by reference is what it names."""
    state = State.model_validate({
        "url": "redis+sentinel://a,b/main/2", "username": "u", "password": {"env": "P"}, "sentinel": {"password": {"env": "S"}},
    })  # fmt: skip
    access = redis_access(state, Source("authproxy.yaml"), tmp_path, {"P": "one\n", "S": "two"})
    assert access is not None
    assert (access.username, access.password, access.sentinel_password) == ("u", "one", "two")
    assert isinstance(open_store(state.url or "", tmp_path, access), RedisStore)
    assert isinstance(open_records(state.url or "", tmp_path, access), RedisRecords)
    assert redis_access(State(), Source("authproxy.yaml"), tmp_path, {}) is None
