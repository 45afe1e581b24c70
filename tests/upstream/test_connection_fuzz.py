"""Whatever a backend says, however it is split, comes to an answer or a refusal, and always to the same one."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from authproxy.model.errors import Refusal
from authproxy.upstream.connection import Connection, StaleConnection
from authproxy.upstream.head import AnswerHead
from tests.upstream.backends import (
    HELLO,
    OK,
    ask,
    cut,
    no_complaints,
    unplugged,
)

SWITCH = b"HTTP/1.1 101 Switching\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"

Outcome = tuple[object, ...]

# Whole answers, parts of answers, and noise between them.
ANSWERS = st.lists(
    st.one_of(
        st.sampled_from(
            [
                HELLO,
                OK,
                SWITCH,
                CHUNKED,
                b"HTTP/1.0 200 OK\r\n\r\n",
                b"HTTP/1.1 103 E\r\n\r\n",
                b"HTTP/1.1 103 E\r\n\r\n" * 16,
                b"HTTP/1.1 204 \r\n\r\n",
                b"Content-Length: 3\r\n",
                b"Transfer-Encoding: chunked\r\n",
                b"Connection: close\r\n",
                b"\r\n",
                b"3\r\nabc\r\n",
                b"0\r\n\r\n",
                b"A: b\r\n",
                b"\n",
            ]
        ),
        st.binary(max_size=6),
    ),
    max_size=8,
).map(b"".join)


async def told(coroutine: Coroutine[Any, Any, Any]) -> object:
    try:
        return await coroutine
    except Refusal as refusal:
        return refusal.code, refusal.reason
    except StaleConnection:
        return "stale"


async def outcome_of(connection: Connection) -> Outcome:
    head = await told(connection.head())
    if not isinstance(head, AnswerHead):
        return (head,)
    body: list[bytes] = []
    while isinstance(piece := await told(connection.read()), bytes) and piece:
        body.append(piece)
    return head.status, head.reason, tuple(head.headers), b"".join(body), piece


async def meet(
    data: bytes,
    at: list[int],
    method: bytes,
    error: Exception | None,
    *,
    waiting: bool,
    reused: bool,
) -> Outcome:
    """What one exchange comes to; `waiting` reads while the bytes arrive, else all have come before."""
    connection, transport, shelf = unplugged(header_bytes=400, header_fields=8)
    connection.reused = reused
    ask(connection, method)
    reading = asyncio.create_task(outcome_of(connection)) if waiting else None
    await asyncio.sleep(0)
    for piece in cut(data, at):
        connection.data_received(piece)
        if waiting:
            await asyncio.sleep(0)
    if error is None:
        connection.eof_received()
    connection.connection_lost(error)
    async with asyncio.timeout(1):
        outcome = await (reading or outcome_of(connection))
    connection.release()
    assert transport.closed
    assert not shelf.kept
    return outcome


@settings(max_examples=400, deadline=None)
@given(
    data=ANSWERS,
    at=st.lists(st.integers(0, 500), max_size=6),
    method=st.sampled_from([b"GET", b"HEAD"]),
    error=st.sampled_from([None, ConnectionResetError()]),
    reused=st.booleans(),
)
def test_any_bytes_give_an_answer_or_a_refusal(
    data: bytes, at: list[int], method: bytes, error: Exception | None, reused: bool
) -> None:
    """Any bytes in any splitting end in a head and a body, a refusal or a stale connection; always in the same one."""

    async def scenario() -> None:
        with no_complaints(asyncio.get_running_loop()):
            splits: tuple[list[int], ...] = ([], at, list(range(len(data))))
            outcomes = [
                await meet(data, split, method, error, waiting=waiting, reused=reused)
                for split in splits
                for waiting in (False, True)
            ]
        assert len(set(outcomes)) == 1

    with asyncio.Runner() as runner:
        runner.run(scenario())


@settings(max_examples=200, deadline=None)
@given(data=ANSWERS, at=st.lists(st.integers(0, 500), max_size=6))
def test_what_is_kept_never_depends_on_the_splitting(data: bytes, at: list[int]) -> None:
    """Whether a connection may carry another exchange is decided by the bytes alone."""

    async def kept(split: list[int]) -> bool:
        connection, _transport, shelf = unplugged()
        ask(connection)
        for piece in cut(data, split):
            connection.data_received(piece)
        connection.take()
        connection.release()
        return bool(shelf.kept)

    async def scenario() -> None:
        assert await kept(at) == await kept([]) == await kept(list(range(len(data))))

    with asyncio.Runner() as runner:
        runner.run(scenario())
