"""A worker's life, on both loops: it serves, drains when it is told to, and ends at once when it is told again."""

import asyncio
import os
import signal
import time

from authproxy.model.target import parse_target
from authproxy.server.reload import prepare
from authproxy.state.memory_records import MemoryRecords
from tests.playbook import Proxy, playbook, token
from tests.wire import HELLO, Link, Message, answering, in_turn, request, until


class Gate:
    """A backend that answers when it is let."""

    def __init__(self) -> None:
        self.open = asyncio.Event()

    async def __call__(self, request: Message, link: Link) -> None:
        request.body = await link.body(request.head)
        await self.open.wait()
        await link.send(HELLO)


async def draining(p: Proxy) -> None:
    """Tell the worker to stop, and wait until it drains."""
    p.worker.stop()
    await until(lambda: p.worker._servers[0].draining)


async def test_it_serves() -> None:
    """Requests with and without bodies, tokens and kept connections are served on either loop."""
    async with playbook() as p:
        link = await p.connect()
        for target, body in (("/", b""), ("/guarded/1", b"x" * 100_000), ("/", b"")):
            answer = await p.request("POST", target, (), body, token=token(), link=link)
            assert (answer.status, answer.seen[0].body) == (200, body)


async def test_a_drain_lets_what_is_under_way_finish() -> None:
    """After a stop no connection is taken, an idle one ends, and a request that had begun gets its whole answer."""
    gate = Gate()
    async with playbook(play=in_turn(answering(HELLO), gate)) as p:
        idle, busy = await p.connect(), await p.connect()
        await p.request("GET", "/", link=idle)
        await busy.send(request("POST", "/slow", (), b"body"))
        await until(lambda: len(p.backend.seen) == 2)
        await draining(p)
        assert await idle.rest() == b""
        assert await refuses_connections(p)
        gate.open.set()
        answer = await busy.answer()
        assert (answer.body, answer.field("connection")) == (b"hello", "close")
        await asyncio.wait_for(p.serving, 2)


async def refuses_connections(p: Proxy) -> bool:
    """Is nobody listening?"""
    try:
        link = await p.connect()
    except ConnectionError:
        return True
    return await link.rest() == b""


async def test_a_drain_has_an_end() -> None:
    """After `drain` what is still under way is cut; its line is in the log."""
    async with playbook(play=Gate(), bounds={"drain": "200ms"}) as p:
        link = await p.connect()
        await link.send(request("GET", "/"))
        await until(lambda: p.backend.seen)
        p.worker.stop()
        await asyncio.wait_for(p.serving, 2)
        assert await link.rest() == b""
        assert '"status":499' in (p.loaded.folder / "access.log").read_text()


async def test_a_second_signal_ends_it_at_once() -> None:
    """Asked twice, a worker does not wait for anybody."""
    async with playbook(play=Gate()) as p:
        link = await p.connect()
        await link.send(request("GET", "/"))
        await until(lambda: p.backend.seen)
        await draining(p)
        p.worker.stop()
        await asyncio.wait_for(p.serving, 2)
        assert await link.rest() == b""


async def test_a_drain_may_be_delayed() -> None:
    """During `drain_delay` all is served as before, so that who sends us requests can learn of it."""
    async with playbook(bounds={"drain_delay": "200ms"}) as p:
        p.worker.stop()
        await asyncio.sleep(0.02)
        assert (await p.request("GET", "/")).status == 200
        await asyncio.wait_for(p.serving, 2)


async def test_an_unfinished_head_does_not_hold_a_drain_open_for_ever() -> None:
    """A client in the middle of its head may finish it in a drain, and is told that the connection ends."""
    async with playbook() as p:
        link = await p.connect()
        await link.send(b"GET / HTTP/1.1\r\n")
        await until(lambda: p.worker._servers[0].count)
        await asyncio.sleep(0.02)
        await draining(p)
        await link.send(b"Host: a\r\n\r\n")
        answer = await link.answer()
        assert (answer.status, answer.field("connection")) == (200, "close")


async def test_signals_are_what_stops_it() -> None:
    """SIGTERM drains; the process is this one, so the loop's own handlers are what is tried."""
    async with playbook() as p:
        os.kill(os.getpid(), signal.SIGTERM)
        await asyncio.wait_for(p.serving, 2)


async def test_it_sweeps_the_records() -> None:
    """What has expired leaves the durable records by itself, and they are let go of in the end."""
    async with playbook() as p:
        records = p.runtime.records
        assert isinstance(records, MemoryRecords)
        await records.put("k", b"expired", b"x", time.time())
        await records.put("k", b"living", b"x", time.time() + 60)
        await until(lambda: len(records._walk) == 1)
        assert await records.get("k", b"living", time.time()) == b"x"
    assert not records._walk


async def test_a_clients_leaving_cancels_on_both_loops() -> None:
    """Also where asyncio serves, a client that leaves ends the backend's work."""
    async with playbook(play=Gate()) as p:
        link = await p.connect()
        await link.send(request("GET", "/"))
        await until(lambda: p.backend.seen)
        link.abort()
        line = (await p.logged())[0]
        assert line["code"] == "client_gone"


async def test_a_reload_lets_go_of_the_routes_before() -> None:
    """A path that nobody asks for again would else keep the policies that it was last found in."""
    async with playbook() as p:
        assert (await p.request("GET", "/before-the-reload")).status == 200
        assert parse_target("/before-the-reload").memo
        await p.worker._take_over(prepare(p.loaded.file, {}, p.worker._runtime))
        assert parse_target("/before-the-reload").memo == []
