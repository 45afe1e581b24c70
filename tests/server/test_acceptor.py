"""Listeners with `proxy_protocol`, on a running server: who is believed, who must say, and what it costs to say nothing."""

import asyncio
import socket
import ssl
import struct
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import pytest

from authproxy.server import acceptor, worker
from authproxy.server.proxy_protocol import V2_SIGNATURE
from tests import certificates
from tests.playbook import Proxy, playbook
from tests.server.test_client_certificates import Stage, stage
from tests.server.test_listeners import reload
from tests.wire import Answer, Json, Link, request, until

__all__ = ["stage"]  # the fixture

V1 = b"PROXY TCP4 9.9.9.9 127.0.0.1 4711 80\r\n"
V2 = V2_SIGNATURE + b"\x21\x11\x00\x0c" + ip_address("9.9.9.8").packed + bytes([127, 0, 0, 1]) + b"\x12\x67\x00\x50"  # fmt: skip
LOCAL = V2_SIGNATURE + b"\x20\x00\x00\x00"


def told(**more: Any) -> list[Json]:
    """A listener that believes this machine."""
    return [{"address": "127.0.0.1:0", "proxy_protocol": ["127.0.0.1/32"], **more}]


async def answer(p: Proxy, data: bytes) -> Answer:
    """What these bytes are answered with."""
    link = await p.connect()
    await link.send(data)
    found = await link.answer()
    link.close()
    return found


@pytest.mark.parametrize(
    ("header", "client"),
    [
        (V1, "9.9.9.9"), (V2, "9.9.9.8"), (b"PROXY TCP6 ::ffff:9.9.9.7 ::1 1 2\r\n", "9.9.9.7"),
        (b"PROXY UNKNOWN\r\n", "127.0.0.1"), (LOCAL, "127.0.0.1"),
        (V2_SIGNATURE + b"\x21\x31\x00\xd8" + bytes(216), "127.0.0.1"),
    ],
)  # fmt: skip
async def test_whom_the_header_names_is_the_client(header: bytes, client: str) -> None:
    """In the log and towards the backend; where it speaks for nobody, the peer itself is."""
    async with playbook(listeners=told()) as p:
        assert (await answer(p, header + request("GET", "/"))).status == 200
        assert p.backend.seen[0].field("x-forwarded-for") == client
        assert (await p.logged())[0]["client"] == client


async def test_the_header_may_come_byte_by_byte() -> None:
    """However it arrives, and with whatever behind it, the request begins after it; it names all requests that follow."""
    async with playbook(listeners=told()) as p:
        for header in (V1, V2):
            link = await p.connect()
            sock = link.writer.get_extra_info("socket")
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in header + b"GE":
                await link.send(bytes([byte]))
                await asyncio.sleep(0.001)
            await link.send(b"T / HTTP/1.1\r\nHost: a\r\n\r\n" + request("GET", "/second"))
            assert [(await link.answer()).status for _ in range(2)] == [200, 200]
        clients = [message.field("x-forwarded-for") for message in p.backend.seen]
        assert clients == ["9.9.9.9"] * 2 + ["9.9.9.8"] * 2


@pytest.mark.parametrize(
    "data",
    [
        request("GET", "/"), b"PROXY TCP4 9.9.9.9 127.0.0.1 4711\r\n" + request("GET", "/"),
        V2_SIGNATURE + b"\x21\x11\xff\xff" + bytes(65535), b"PROXY " + b"9" * 4000, b"\x16\x03\x01\x02\x00", b"\r\n" * 100,
    ],
)  # fmt: skip
async def test_who_must_send_a_header_and_does_not_is_closed(data: bytes, caplog: pytest.LogCaptureFixture) -> None:  # fmt: skip
    """Without an answer, and without a word of what it sent in any log; the next one is served."""
    async with playbook(listeners=told()) as p:
        assert await p.raw(data) == b""
        assert (await answer(p, V1 + request("GET", "/"))).status == 200
        assert len(p.backend.seen) == len(p.log()) == 1
    assert len(caplog.messages) == 1
    assert "from 127.0.0.1 was closed, its PROXY header: " in caplog.text
    assert "9.9" not in caplog.text


async def test_a_second_header_is_junk() -> None:
    """One connection is one client's: a header behind the header is no request, and names nobody."""
    async with playbook(listeners=told()) as p:
        got = await answer(p, V1 + V1.replace(b"9.9.9.9", b"8.8.8.8") + request("GET", "/"))
        assert (got.status, p.backend.seen) == (400, [])
        assert (await p.logged())[0]["client"] == "9.9.9.9"


async def test_others_are_served_as_themselves() -> None:
    """Outside of the networks nobody is believed, and nobody needs a header: one from there is junk."""
    listeners = [{"address": "127.0.0.1:0", "proxy_protocol": ["10.0.0.0/8"]}]
    async with playbook(listeners=listeners) as p:
        assert (await answer(p, request("GET", "/"))).status == 200
        assert (await answer(p, V1 + request("GET", "/"))).status == 400
        assert (await p.raw(V2 + request("GET", "/"))).startswith(b"HTTP/1.1 400")
        assert {line["client"] for line in await p.logged(2)} == {"127.0.0.1"}
        assert [message.field("x-forwarded-for") for message in p.backend.seen] == ["127.0.0.1"]


async def test_without_the_option_a_header_is_junk() -> None:
    """A listener that is not told to believes nobody."""
    async with playbook() as p:
        assert (await answer(p, V1 + request("GET", "/"))).status == 400
        assert (await p.logged())[0]["client"] == "127.0.0.1"
        assert p.backend.seen == []


async def test_the_named_client_is_the_peer_for_everything_else() -> None:
    """Trusted proxies are looked for at that address: one that is none says nothing, one that is some says the client."""
    trusted = {"networks": ["9.9.9.9/32"]}
    async with playbook(listeners=told(), trusted_proxies=trusted) as p:
        said = request("GET", "/", {"X-Forwarded-For": "1.2.3.4"})
        for header in (V1, V2, LOCAL):
            assert (await answer(p, header + said)).status == 200
        chains = [message.field("x-forwarded-for") for message in p.backend.seen]
        assert chains == ["1.2.3.4, 9.9.9.9", "9.9.9.8", "127.0.0.1"]


async def test_limits_count_the_named_client() -> None:
    """Not the proxy in front, which would be everybody."""
    limits = [{"limit": "1/hour", "per": "address"}]
    async with playbook(listeners=told(), rate_limits=limits) as p:
        got = [(await answer(p, header + request("GET", "/"))).status for header in (V1, V1, V2)]
        assert got == [200, 429, 200]


@pytest.mark.parametrize("header", [V1, V2, LOCAL])
async def test_tls_follows_the_header(stage: Stage, header: bytes) -> None:
    """Also where the hello comes in the same segment; the certificate of the handshake is the client's as ever."""
    listener = {**stage.listener(), "proxy_protocol": ["127.0.0.0/8"]}
    async with playbook(listeners=[listener]) as p:
        for together in (True, False):
            found = await asyncio.to_thread(over_tls, p.addresses[0], stage.client(stage.robot), header, together)  # fmt: skip
            assert found.startswith(b"HTTP/1.1 200")
        assert await p.raw(b"\x16\x03\x01\x02\x00\x01") == b""


def over_tls(
    address: tuple[str, int], tls: ssl.SSLContext, header: bytes, together: bool
) -> bytes:  # a parameter of the test
    """A request in TLS behind a header, which goes with the hello or before it."""
    read, write = ssl.MemoryBIO(), ssl.MemoryBIO()
    link = tls.wrap_bio(read, write, server_hostname="localhost")
    with socket.create_connection(address, 5) as raw:
        if not together:
            raw.sendall(header)
            header = b""
        while True:
            try:
                link.do_handshake()
                break
            except ssl.SSLWantReadError:
                raw.sendall(header + write.read())
                header = b""
                read.write(raw.recv(65536))
        link.write(request("GET", "/", {"Host": "localhost", "Connection": "close"}))
        raw.sendall(write.read())
        while True:
            try:
                return link.read(65536)
            except ssl.SSLWantReadError:
                read.write(raw.recv(65536))


async def test_who_says_nothing_is_closed_in_time() -> None:
    """After `handshake`, whether nothing came or half a header."""
    async with playbook(listeners=told(), bounds={"handshake": "100ms"}) as p:
        assert [await p.raw(data) for data in (b"", V1[:20], V2[:14])] == [b""] * 3
        assert p.log() == []


async def test_who_leaves_early_leaves_nothing_behind() -> None:
    """Connections that end in the middle of a header, politely or not, are forgotten."""
    async with playbook(listeners=told()) as p:
        for data in (b"", V1[:10], V2[:14]):
            link = await p.connect()
            await link.send(data)
            link.close()
            link = await p.connect()
            await link.send(data)
            link.writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # fmt: skip
            link.abort()
        await until(lambda: not p.worker._listeners._arriving)
        assert p.worker._servers[0].count == 0


async def test_waiting_connections_count() -> None:
    """Those that have yet to say whose they are count as connections: past the bound more of them are closed unheard."""
    async with playbook(listeners=told(), bounds={"connections": 2}) as p:
        waiting = [await p.connect() for _ in range(3)]
        await until(lambda: p.worker._servers[0].count >= 3)
        late = await p.connect()
        assert await late.rest() == b""
        for link in waiting:
            link.close()
        await until(lambda: p.worker._servers[0].count == 0)
        assert (await answer(p, V1 + request("GET", "/"))).status == 200


async def test_a_drain_waits_for_the_header(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who was accepted before it is still served; who says nothing holds it up no longer than `handshake`."""
    monkeypatch.setattr(worker, "TICK", 0.02)
    async with playbook(listeners=told(), bounds={"handshake": "300ms"}) as p:
        link, mute = await p.connect(), await p.connect()
        await link.send(V1[:10])
        await until(lambda: p.worker._servers[0].count == 2)
        p.worker.stop()
        await until(lambda: p.worker._servers[0].draining)
        await link.send(V1[10:] + request("GET", "/"))
        got = await link.answer()
        assert (got.status, got.field("connection")) == (200, "close")
        assert await mute.rest() == b""


async def test_an_end_at_once_waits_for_nobody() -> None:
    """Told twice, the server ends, whoever has yet to say whose he is."""
    async with playbook(listeners=told()) as p:
        link = await p.connect()
        await until(lambda: p.worker._servers[0].count == 1)
        p.worker.stop()
        p.worker.stop()
        assert await link.rest() == b""


async def test_certificates_change_under_waiting_connections(stage: Stage) -> None:
    """A reload that replaces whoever accepts drops none of them."""
    listener = {**stage.listener(None), "proxy_protocol": ["127.0.0.0/8"]}
    async with playbook(listeners=[listener]) as p:
        waiting = await p.connect()
        await waiting.send(V1[:10])
        await until(lambda: p.worker._servers[0].count == 1)
        stage.write("server", certificates.server(stage.trusted, "localhost"))
        await reload(p)
        for header in (V1, V2):
            found = await asyncio.to_thread(over_tls, p.addresses[0], stage.client(), header, True)
            assert found.startswith(b"HTTP/1.1 200")
        await waiting.send(V1[10:] + b"\x16")
        assert p.worker._servers[0].arriving + len(p.worker._listeners._arriving) > 0


async def test_unix_sockets_are_this_machine(tmp_path: Path) -> None:
    """A peer on a Unix socket counts as 127.0.0.1, so that a proxy beside us can speak for its clients."""
    path = tmp_path / "s"
    listeners = [*told(), {"address": f"unix:{path}", "proxy_protocol": ["127.0.0.1/32"]}]
    async with playbook(listeners=listeners) as p:
        link = Link(*await asyncio.open_unix_connection(path))
        p.links.append(link)
        await link.send(V1 + request("GET", "/"))
        assert (await link.answer()).status == 200
        assert p.backend.seen[0].field("x-forwarded-for") == "9.9.9.9"


async def test_a_shortage_of_descriptors_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system gives no more of them, taking connections pauses and goes on by itself."""
    monkeypatch.setattr(acceptor, "PAUSE", 0.05)
    real, failures = socket.socket.accept, [OSError(24, "Too many open files")] * 3

    def accept(self: socket.socket) -> Any:
        if failures:
            raise failures.pop()
        return real(self)

    async with playbook(listeners=told()) as p:
        monkeypatch.setattr(socket.socket, "accept", accept)
        assert (await answer(p, V1 + request("GET", "/"))).status == 200
        assert failures == []
