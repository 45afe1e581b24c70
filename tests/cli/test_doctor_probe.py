"""One question: sent as written, answered within bounds, or in few words why not."""

import asyncio

import pytest

from authproxy.cli import doctor_probe
from authproxy.cli.doctor_probe import BYTES_MOST, NoAnswerError, Place, probe
from tests.cli.answers import answering


async def test_a_question_is_sent_as_it_is_written() -> None:
    """Its headers in their spelling and order; the answer's repeated ones are all there."""
    async with answering(lambda _: (["HTTP/1.1 204 No", "A: 1", "a:2"], b"")) as there:
        reply = await probe(Place("127.0.0.1", there.port), "/x?y", [("Host", "h"), ("x_Y", "z")])
    assert there.asked == ["GET /x?y HTTP/1.1\r\nHost: h\r\nx_Y: z\r\nConnection: close\r\n\r\n"]
    assert (reply.status, reply.headers["a"]) == (204, "1\n2")


@pytest.mark.parametrize("line", ["SSH-2.0-x", "HTTP/1.1", "HTTP/1.1 abc def", ""])
async def test_what_is_no_http_is_no_answer(line: str) -> None:
    """And says so without quoting it."""
    async with answering(lambda _: ([line], b"")) as there:
        with pytest.raises(NoAnswerError, match="no HTTP"):
            await probe(Place("127.0.0.1", there.port), "/", [])


async def _silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()
    writer.close()


async def test_an_answer_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """In bytes and in time; nobody there is told in a word."""
    monkeypatch.setattr(doctor_probe, "SECONDS", 0.2)
    async with answering(lambda _: (["HTTP/1.1 200 OK"], b"x" * 5_000_000)) as there:
        reply = await probe(Place("127.0.0.1", there.port), "/", [])
        assert len(reply.body) < 2 * BYTES_MOST
    silent = await asyncio.start_server(_silence, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    with pytest.raises(NoAnswerError, match="nothing within"):
        await probe(Place("127.0.0.1", port), "/", [])
    silent.close()
    with pytest.raises(NoAnswerError):
        await probe(Place("127.0.0.1", port), "/", [])
    with pytest.raises(NoAnswerError, match="no such file"):
        await probe(Place(path="/nowhere/at/all.sock"), "/", [])
