"""The demo's backend."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from authproxy.cli.echo import GREETING, STREAM_MOST, echo_backend


@pytest.fixture
async def url() -> AsyncIterator[str]:
    async with echo_backend() as found:
        yield found


@pytest.fixture
async def client() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_tells_what_reached_it(url: str, client: aiohttp.ClientSession) -> None:
    """Method, target as sent, headers (repeated ones joined) and body come back as JSON."""
    headers = [("X-A", "1"), ("X-A", "2")]
    async with client.put(f"{url}/a%20b?c=d", data=b"x" * 5000, headers=headers) as answer:
        told = await answer.json()
    assert (told["method"], told["target"], told["body_bytes"]) == ("PUT", "/a%20b?c=d", 5000)
    assert told["headers"]["X-A"] == "1, 2"
    assert told["body"] == "x" * 1024


@pytest.mark.parametrize("size", [0, 1, 65536, 200_000])
async def test_streams_so_many_bytes(url: str, client: aiohttp.ClientSession, size: int) -> None:
    """/stream sends as many bytes as it is asked for."""
    async with client.get(f"{url}/stream?bytes={size}") as answer:
        assert len(await answer.read()) == size


@pytest.mark.parametrize("size", ["x", "-1", "", str(STREAM_MOST + 1), "9" * 40])
async def test_streams_no_nonsense(url: str, client: aiohttp.ClientSession, size: str) -> None:
    """What is no number, or more than it streams, is a 400."""
    async with client.get(f"{url}/stream?bytes={size}") as answer:
        assert answer.status == 400


async def test_events_come_one_by_one(url: str, client: aiohttp.ClientSession) -> None:
    """The first event is there before the last is sent."""
    async with client.get(f"{url}/events?count=2") as answer:
        assert answer.content_type == "text/event-stream"
        first = await answer.content.readuntil(b"\n\n")
        assert first == b"id: 1\ndata: event 1 of 2\n\n"
        assert await answer.content.read() == b"id: 2\ndata: event 2 of 2\n\n"


async def test_websocket_greets_and_echoes(url: str, client: aiohttp.ClientSession) -> None:
    """/ws greets first; then text and bytes come back as they are."""
    async with client.ws_connect(f"{url}/ws") as socket:
        assert await socket.receive_str() == GREETING
        await socket.send_str("ä")
        assert await socket.receive_str() == "ä"
        await socket.send_bytes(b"\0")
        assert await socket.receive_bytes() == b"\0"
