"""The socket of a worker's trail: for its own user only, bounded in all that strangers could choose."""

import asyncio
import json
import os
import select
import socket
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.identity import Identity
from authproxy.model.rate import Balance, Charge
from authproxy.policy.record import Recorder
from authproxy.rate_limits.strategies import FIXED
from authproxy.server import trail_socket
from authproxy.server.trail_socket import (
    ANSWER_MOST,
    ASKED_MOST,
    AT_ONCE_MOST,
    CHARGES_MOST,
    TrailSocket,
)
from authproxy.state.store import StateUnavailable
from authproxy.telemetry.trail import Trail
from tests.telemetry.test_access_log import exchange

AWAY = 999
MISREAD = 998


async def peek(charges: Sequence[Charge], _now: float) -> list[Balance]:
    """What is left: as much as the rates let pass."""
    if charges and charges[0].rate.amount == AWAY:
        raise StateUnavailable("the store is away")
    if charges and charges[0].rate.amount == MISREAD:
        FIXED.unpack(b"the record of another strategy")
    return [Balance(True, charge.rate.amount, 9.5) for charge in charges]


def sockets(folder: Path) -> list[Path]:
    """Those of trails."""
    return list(folder.glob("trail-*.sock"))


@asynccontextmanager
async def answering(folder: Path, trail: Trail | None) -> AsyncIterator[Path]:
    """A socket for this trail, as a path that may be connected to."""
    served = TrailSocket(folder, lambda: trail, peek)
    await served.start()
    (path,) = sockets(folder)
    try:
        yield path
    finally:
        await served.close()
    assert sockets(folder) == []


async def ask(path: Path, question: bytes) -> bytes:
    """All that comes back."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    try:
        writer.write(question)
        return await reader.read()
    except ConnectionError:  # closed with the question unread
        return b""
    finally:
        writer.close()


def trail(*ids: str, **changes: Any) -> Trail:
    """One that knows these."""
    found = Trail(10, Recorder(frozenset({("claims",)})))
    for one in ids:
        found.keep(exchange(request_id=one, **changes))
    return found


async def test_it_answers_one_question(tmp_path: Path) -> None:
    """With the request and how many are known; the file is for its user alone, and goes away."""
    async with answering(tmp_path / "state", trail("a", "b")) as path:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
        told = json.loads(await ask(path, b'"a"\n'))
        assert (told["keeps"], told["held"]) == (10, 2)
        assert told["found"]["happened"]["request_id"] == "a"
        assert json.loads(await ask(path, b'"z"\n'))["found"] is None
        assert json.loads(await ask(path, b"[1]\n"))["found"] is None


async def test_without_a_trail_it_says_so(tmp_path: Path) -> None:
    """`trail: 0`."""
    async with answering(tmp_path, None) as path:
        assert json.loads(await ask(path, b'"a"\n')) == {"keeps": 0, "held": 0, "found": None}


@pytest.mark.parametrize("question", [b"no json\n", b'"' + b"x" * ASKED_MOST * 70 + b'"\n', b'"\xff"\n'])  # fmt: skip
async def test_what_is_no_question_has_no_answer(tmp_path: Path, question: bytes) -> None:
    """And no traceback; the next one is answered."""
    async with answering(tmp_path, trail("a")) as path:
        assert await ask(path, question) == b""
        assert json.loads(await ask(path, b'"a"\n'))["found"]


async def test_it_says_what_is_left_of_limits(tmp_path: Path) -> None:
    """Each as granted, remaining and reset; without the store why nobody knows."""
    charge = ["00" * 16, 5, 60, "fixed-window", 1]
    async with answering(tmp_path, None) as path:
        told = await ask(path, json.dumps({"charges": [charge]}).encode() + b"\n")
        assert json.loads(told) == {"balances": [[True, 5, 9.5]]}
        charge[1] = AWAY
        told = await ask(path, json.dumps({"charges": [charge]}).encode() + b"\n")
        assert json.loads(told) == {"balances": None, "why": "the store is away"}


@pytest.mark.parametrize(
    "charges",
    [
        None,
        [["zz", 5, 60, "fixed-window", 1]],
        [["00", 5, 60, "fixed-window", 1]],
        [["00" * 17, 5, 60, "fixed-window", 1]],
        [["00" * 16, 0, 60, "fixed-window", 1]],
        [["00" * 16, 5, 60, "none", 1]],
        [["00" * 16, 5, 60, "fixed-window", 6]],
        [["00" * 16, 1 << 40, 60, "moving-window", 1 << 40]],
        [["00" * 16, 1 << 40, 60, "fixed-window", 1]],
        [["00" * 16, 5, 1 << 40, "fixed-window", 1]],
        [["00" * 16, 5, 60, "fixed-window"]],
        [["00" * 16, 5, 60, "fixed-window", 1]] * (CHARGES_MOST + 1),
        [["00" * 16, MISREAD, 60, "fixed-window", 1]],
    ],
)
async def test_what_is_no_limit_has_no_answer(tmp_path: Path, charges: object) -> None:
    """Nor a traceback."""
    async with answering(tmp_path, None) as path:
        assert await ask(path, json.dumps({"charges": charges}).encode() + b"\n") == b""


async def test_another_user_is_told_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel says who asks, whatever the mode of the file: here it is we who are another user."""
    async with answering(tmp_path, trail("a")) as path:
        monkeypatch.setattr(trail_socket, "_ROOT", -1)
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
        assert await ask(path, b'"a"\n') == b""


async def test_who_asks_nothing_is_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And only so many are listened to at once."""
    monkeypatch.setattr(trail_socket, "PATIENCE", 0.2)
    async with answering(tmp_path, trail("a")) as path:
        silent = [await asyncio.open_unix_connection(str(path)) for _ in range(AT_ONCE_MOST)]
        await asyncio.sleep(0)
        assert [await reader.read() for reader, _ in silent] == [b""] * AT_ONCE_MOST
        for _, writer in silent:
            writer.close()
        assert json.loads(await ask(path, b'"a"\n'))["found"]


async def test_who_reads_nothing_is_let_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What found no room at the reader is dropped in time: neither it nor the connection stays with the worker."""
    monkeypatch.setattr(trail_socket, "PATIENCE", 0.05)
    long = b"x" * (4 << 20)
    monkeypatch.setattr(TrailSocket, "_told", lambda *_: long)
    async with answering(tmp_path, trail("a")) as path:
        with socket.socket(socket.AF_UNIX) as waiting:
            waiting.connect(str(path))
            waiting.sendall(b'"a"\n')
            ended = select.poll()
            ended.register(waiting, select.POLLRDHUP)
            async with asyncio.timeout(5):
                while not ended.poll(0):  # noqa: ASYNC110  # the kernel has no event for us that reads nothing
                    await asyncio.sleep(0.01)
            waiting.settimeout(0)
            read, said = 0, b"x"
            while said:
                said = waiting.recv(1 << 20)
                read += len(said)
        assert 0 < read < len(long)


async def test_an_answer_is_bounded(tmp_path: Path) -> None:
    """Claims may be long: they are left out then, and that is said."""
    who = Identity("tokens", "a", claims={"x": "y" * ANSWER_MOST})
    async with answering(tmp_path, trail("a", identity=who)) as path:
        line = await ask(path, b'"a"\n')
        assert len(line) < ANSWER_MOST
        assert json.loads(line)["found"]["record"]["withheld"] == ["claims", "headers", "groups", "scopes"]  # fmt: skip


async def test_what_dead_workers_left_is_swept(tmp_path: Path) -> None:
    """A socket that nobody answers goes; one that somebody does stays."""
    dead, living = tmp_path / "trail-1-a.sock", tmp_path / "trail-2-b.sock"
    with socket.socket(socket.AF_UNIX) as one, socket.socket(socket.AF_UNIX) as other:
        one.bind(str(dead))
        other.bind(str(living))
        other.listen()
        served = TrailSocket(tmp_path, lambda: None, peek)
        await served.start()
        assert (dead.exists(), living.exists()) == (False, True)
        await served.close()


async def test_a_long_path_is_no_hindrance(tmp_path: Path) -> None:
    """The kernel takes 107 bytes for the path of a socket; directories are longer."""
    folder = tmp_path / ("d" * 150)
    served = TrailSocket(folder, lambda: None, peek)
    await served.start()
    assert len(sockets(folder)) == 1
    await served.close()
    assert sockets(folder) == []


async def test_without_a_place_the_worker_serves(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once, in plain words."""
    (tmp_path / "file").touch()
    served = TrailSocket(tmp_path / "file", lambda: None, peek)
    await served.start()
    await served.close()
    assert "cannot ask this worker" in caplog.text
