"""What one client does is no matter of the others whose requests are worked on in the same round, nor of who it is taken for."""

import asyncio
import socket
import struct
from typing import Any

import pytest

from authproxy.web import envelope
from tests.playbook import OPEN, Proxy, playbook
from tests.wire import request, until

NEAR: dict[str, Any] = {
    "name": "near", "match": {"paths": ["/near"]}, "upstream": "backend", "authenticate": "none",
    "deny": [{"when": 'request.client != "127.0.0.1"'}],
}  # fmt: skip


def reset_at_once(p: Proxy, data: bytes, host: str) -> None:
    """Connect, send and reset, all before the proxy has taken the connection: its loop is ours, and waits meanwhile."""
    link = socket.socket()
    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    link.bind((host, 0))
    link.connect(p.addresses[0])
    link.send(data)
    link.close()


async def test_a_client_that_is_gone_before_it_is_taken_is_nobody() -> None:
    """Its address cannot be told any more, and it never counts as this machine: nothing that it sent reaches a backend."""
    async with playbook(OPEN, NEAR) as p:
        assert (await p.request("GET", "/near")).status == 200  # a connection to the backend waits
        for _ in range(20):
            reset_at_once(p, request("DELETE", "/near"), "127.0.0.9")
            await asyncio.sleep(0)
        await p.request("GET", "/canary")
        await p.request("GET", "/canary")
        assert {seen.start for seen in p.backend.seen} == {
            "GET /near HTTP/1.1",
            "GET /canary HTTP/1.1",
        }
        # On some loops the address is known all the same, on uvloop it is not; it never is another one.
        assert {line["client"] for line in p.log() if line["method"] == "DELETE"} <= {"127.0.0.9"}


async def test_a_trusted_proxys_word_is_not_taken_from_nobody() -> None:
    """With this machine as a trusted proxy, too."""
    trusted = {"networks": ["127.0.0.1/32"]}
    async with playbook(OPEN, trusted_proxies=trusted) as p:
        await p.request("GET", "/warm")
        for _ in range(20):
            data = request("DELETE", "/x", [("X-Forwarded-For", "10.1.1.1")])
            reset_at_once(p, data, "127.0.0.9")
            await asyncio.sleep(0)
        await p.canary()
        told = [seen.field("x-forwarded-for") for seen in p.backend.seen if "DELETE" in seen.start]
        assert set(told) <= {"127.0.0.9"}


async def test_a_target_that_is_no_url_hangs_nobody() -> None:
    """`http://xn--/` pipelined behind a good request: 400 for its sender, and the others of the round go on."""
    bad = b"GET http://xn--/ HTTP/1.1\r\nHost: a.test\r\n\r\n"
    async with playbook() as p:
        links = [await p.connect() for _ in range(12)]
        for _ in range(5):
            attackers = [await p.connect() for _ in range(4)]
            for one in attackers:
                one.writer.write(request("GET", "/open") + bad)
            for one in links:
                one.writer.write(request("GET", "/canary"))
            async with asyncio.timeout(5):
                assert {(await one.answer("GET")).status for one in links} == {200}
                for one in attackers:
                    assert (await one.answer("GET")).status == 200
                    assert (await one.answer("GET")).status == 400
        alone = await p.raw(bad)
        assert alone.startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize("part", ["begin", "failed", "write", "answered"])
async def test_a_fault_of_ours_ends_one_connection(
    part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever it is: whoever else was in the round is answered, and is served on."""
    from authproxy.telemetry.line_log import LineLog
    from authproxy.web import rounds
    from authproxy.web.compat import ClientConnection

    owner: Any = {
        "begin": rounds,
        "failed": rounds,
        "write": LineLog,
        "answered": ClientConnection,
    }[part]
    original = getattr(owner, part)

    def faulty(first: Any, *args: Any, **more: Any) -> Any:
        asked = args[0] if part == "answered" else first
        target = asked.head.path if hasattr(asked, "head") else args[0].raw_target
        if target == "/faulty":
            raise ZeroDivisionError
        return original(first, *args, **more)

    async with playbook() as p:
        monkeypatch.setattr(owner, part, faulty)
        if part == "failed":
            monkeypatch.setattr(envelope, "refuse", lambda *_: 1 / 0)
        links = [await p.connect() for _ in range(6)]
        guilty = await p.connect()
        guilty.writer.write(request("TRACE", "/faulty"))
        for one in links:
            one.writer.write(request("GET", "/canary"))
        async with asyncio.timeout(5):
            assert {(await one.answer("GET")).status for one in links} == {200}
            for one in links:
                one.writer.write(request("GET", "/canary"))
            assert {(await one.answer("GET")).status for one in links} == {200}
        await until(lambda: p.errors)
        p.errors.clear()
        monkeypatch.undo()
