"""The outermost layer: whatever comes of a request is answered and noted, and nothing foreseen by nobody is an allow."""

import asyncio
import itertools

import pytest

from authproxy.web import envelope as module
from authproxy.web import relay
from tests.playbook import playbook
from tests.wire import HELLO, Link, Message, request, until


async def test_what_nobody_foresaw_is_a_500(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of ours is `internal_error` without its text, never an allow; the traceback is in the error log."""

    def broken(*_: object) -> None:
        raise ZeroDivisionError("s3cret")

    async with playbook() as p:
        with monkeypatch.context() as patch:
            patch.setattr(relay, "is_websocket", broken)
            answer = await p.request("GET", "/")
        assert (answer.status, answer.code, answer.field("connection")) == (
            500,
            "internal_error",
            "close",
        )
        assert b"s3cret" not in answer.body
        line = p.log()[0]
        assert (line["decision"], line["code"]) == ("refuse", "internal_error")
        assert p.errors.pop().endswith("failed")
        await p.canary()


async def test_a_fault_after_the_answer_began_cuts_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the head is out, a fault shows as a cut body; no second answer is written into the first."""
    gate = asyncio.Event()

    async def slowly(_request: Message, link: Link) -> None:
        await link.send(HELLO[:-2])
        await gate.wait()
        await link.send(HELLO[-2:])

    async with playbook(play=slowly) as p:
        link = await p.connect()
        await link.send(request("GET", "/"))
        await link.head()
        for connection in p.runtime.pools["backend"]._busy:
            monkeypatch.setattr(type(connection._message), "take", lambda _self: 1 / 0)
        gate.set()
        assert await link.rest() == b"hel"
        monkeypatch.undo()
        assert p.errors.pop().endswith("failed")
        assert (await p.logged())[0]["code"] == "internal_error"


async def test_ids_are_never_the_same() -> None:
    """Request ids and trace ids are random, each request's own."""
    ids = set(itertools.islice(module._random_ids(), 1000))
    assert len(ids) == 1000
    assert {len(one) for one in ids} == {48}


async def test_a_stop_at_once_still_writes_the_log() -> None:
    """A second signal cuts what is under way; its line is in the log all the same."""

    async def silent(_request: Message, link: Link) -> None:
        await link.reader.read()

    async with playbook(play=silent) as p:
        link = await p.connect()
        await link.send(request("GET", "/"))
        await until(lambda: p.backend.seen)
        p.worker.stop()
        p.worker.stop()
        await p.serving
        text = (p.loaded.folder / "access.log").read_text()
        assert '"code":"client_gone"' in text
