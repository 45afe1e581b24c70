"""Backends that answer what they must not (facts 52, 58-61): the client sees a refusal or a cut, and the next one its own."""

import asyncio
import re
import socket
import socketserver
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from authproxy.model.errors import REFUSALS
from tests.end_to_end.credentials import Issuer
from tests.end_to_end.served import Served, configuration, write_configuration
from tests.hostile.attack import Answer, connect

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
EXTRA = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nX-Smuggled: yes\r\n\r\npoison"
TE = b"Transfer-Encoding: chunked\r\n"
INVALID = {
    "garbage": b"\x00\x01\x02\x03 nonsense\r\n\r\n",
    "nothing": b"",
    "a cut head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "HTTP/2": b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
    "HTTP/0.9": b"<html>hello</html>",
    "bare LF": b"HTTP/1.1 200 OK\nX: y\n\nhello",
    "CR in the reason": b"HTTP/1.1 200 OK\rX-Smuggled: y\r\nContent-Length: 5\r\n\r\nhello",
    "LF in the reason": b"HTTP/1.1 200 OK\nX-Smuggled: y\r\nContent-Length: 5\r\n\r\nhello",
    "CR in a value": b"HTTP/1.1 200 OK\r\nX: a\rX-Smuggled: y\r\nContent-Length: 5\r\n\r\nhello",
    "NUL in a value": b"HTTP/1.1 200 OK\r\nX: a\x00b\r\nContent-Length: 5\r\n\r\nhello",
    "a control byte in a value": b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": b"HTTP/1.1 200 OK\r\nX : y\r\nContent-Length: 5\r\n\r\nhello",
    "an empty name": b"HTTP/1.1 200 OK\r\n: y\r\nContent-Length: 5\r\n\r\nhello",
    "a folded line": b"HTTP/1.1 200 OK\r\nX: y\r\n folded\r\nContent-Length: 5\r\n\r\nhello",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "a list of lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 5, 6\r\n\r\nhello!",
    "an odd length": b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello",
    "a negative length": b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhello",
    "a length of 2^65": b"HTTP/1.1 200 OK\r\nContent-Length: 36893488147419103232\r\n\r\nhello",
    "both framings": b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n" + TE + b"\r\n0\r\n\r\n",
    "an odd coding": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked, x\r\n\r\n0\r\n\r\n",
    "two codings": b"HTTP/1.1 200 OK\r\n" + TE + TE + b"\r\n0\r\n\r\n",
    "101 unasked": b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
    "a status of four digits": b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n",
    "a status of letters": b"HTTP/1.1 abc OK\r\nContent-Length: 0\r\n\r\n",
    "a head of 1 MiB": b"HTTP/1.1 200 OK\r\nX: " + b"y" * (1 << 20) + b"\r\n\r\n",
    "10,000 fields": b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 10_000 + b"\r\n",
    "a flood of 1xx": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n" * 100_000,
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
}  # fmt: skip
CUT = {
    "a short body": b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\nhello",
    "chunks that stop": b"HTTP/1.1 200 OK\r\n" + TE + b"\r\n5\r\nhello\r\n",
    "a bad chunk": b"HTTP/1.1 200 OK\r\n" + TE + b"\r\n5\r\nhello\r\nzz\r\n\r\n",
    "a chunk that is too long": b"HTTP/1.1 200 OK\r\n" + TE + b"\r\n5\r\nhelloXX0\r\n\r\n",
    "a chunk size of 2^64": b"HTTP/1.1 200 OK\r\n"
    + TE
    + b"\r\n5\r\nhello\r\n10000000000000000\r\nx",
}
WHOLE = {
    "more than asked for": OK + EXTRA,
    "a 204 with a body": b"HTTP/1.1 204 No Content\r\n\r\n" + EXTRA,
    "a 304 with a body": b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n" + EXTRA,
    "until it closes": b"HTTP/1.1 200 OK\r\n\r\nhello",
    "chunks and more": b"HTTP/1.1 200 OK\r\n" + TE + b"\r\n5\r\nhello\r\n0\r\n\r\n" + EXTRA,
    "identity trailers": b"HTTP/1.1 200 OK\r\n"
    + TE
    + b"\r\n5\r\nhello\r\n0\r\nX-Smuggled: y\r\n\r\n",
}
ANSWERS = {**INVALID, **CUT, **WHOLE}


class _Liar(socketserver.BaseRequestHandler):
    """Answers the target `/N` with the N-th of the answers, and `/canary…` honestly."""

    request: socket.socket

    def handle(self) -> None:
        self.request.settimeout(5)
        held = b""
        while True:
            try:
                while b"\r\n\r\n" not in held:
                    data = self.request.recv(65536)
                    if not data:
                        return
                    held += data
                head, _, held = held.partition(b"\r\n\r\n")
                target = head.split(b" ")[1]
                if target.startswith(b"/canary"):
                    size = len(target)
                    self.request.sendall(
                        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (size, target)
                    )
                    continue
                name, answer = list(ANSWERS.items())[int(target[1:])]
                self.request.sendall(answer)
            except OSError:
                return
            if name not in WHOLE or name == "until it closes":
                return


class _Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """The proxy hung up: that is what is wanted."""


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with nothing but a liar behind it."""
    liar = _Server(("127.0.0.1", 0), _Liar)
    thread = threading.Thread(target=liar.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    upstreams = {
        "liar": {
            "servers": [f"http://127.0.0.1:{liar.server_address[1]}"],
            "timeouts": {"response": "3s", "idle": "3s"},
        }
    }
    routes = [
        {"name": "all", "match": {"paths": ["/**"]}, "upstream": "liar", "authenticate": "none"}
    ]
    folder: Path = tmp_path_factory.mktemp("liar")
    served = Served(write_configuration(folder, Issuer(), configuration(upstreams), routes))
    yield served
    status = served.stop()
    liar.shutdown()
    liar.server_close()
    assert status == 0
    assert "Traceback" not in served.errors()


async def ask(proxy: Served, target: str, fields: str = "") -> tuple[Answer | None, str]:
    """The answer, and how it was broken where it was."""
    client = await connect(proxy.ports[0])
    try:
        client.writer.write(f"GET {target} HTTP/1.1\r\nHost: a.test\r\n{fields}\r\n".encode())
        async with asyncio.timeout(6):
            return await client.answer(), ""
    except (ValueError, asyncio.IncompleteReadError) as error:
        return None, str(error) or "cut"
    finally:
        client.writer.transport.abort()


async def canary(proxy: Served, name: str) -> None:
    """The next requests get their own answers."""
    for number in range(3):
        answer, _ = await ask(proxy, f"/canary-{number}")
        assert answer is not None, name
        assert (answer.status, answer.body, answer.value("x-smuggled")) == (
            200,
            b"/canary-%d" % number,
            "",
        ), name


@pytest.mark.parametrize("name", INVALID)
async def test_an_answer_that_is_none_is_refused(proxy: Served, name: str) -> None:
    """Whatever is no answer to this request is `upstream_invalid`, nothing of it reaches the client, the next is clean."""
    answer, broken = await ask(proxy, f"/{list(ANSWERS).index(name)}")
    assert answer is not None, broken
    assert answer.code == "upstream_invalid", (answer.status, answer.body[:200])
    assert answer.status == REFUSALS["upstream_invalid"][0]
    assert answer.value("x-smuggled") == ""
    await canary(proxy, name)


@pytest.mark.parametrize("name", CUT)
async def test_a_body_that_breaks_is_seen_to_break(proxy: Served, name: str) -> None:
    """A body that ends too early, or that cannot be read on, never looks whole to the client."""
    answer, broken = await ask(proxy, f"/{list(ANSWERS).index(name)}")
    assert broken or (answer is not None and answer.code == "upstream_invalid")
    await canary(proxy, name)


@pytest.mark.parametrize("name", WHOLE)
async def test_what_follows_an_answer_is_nobody_s(proxy: Served, name: str) -> None:
    """Bytes after the end of an answer, and trailers, reach neither this client nor the next."""
    answer, broken = await ask(proxy, f"/{list(ANSWERS).index(name)}")
    assert answer is not None, broken
    assert answer.status in {200, 204, 304}
    assert answer.value("x-smuggled") == ""
    assert b"poison" not in answer.body
    await canary(proxy, name)


@pytest.mark.parametrize("name", [*INVALID, *WHOLE])
async def test_a_tunnel_opens_only_on_a_right_101(proxy: Served, name: str) -> None:
    """To a WebSocket handshake none of these answers opens a tunnel (CVE-2024-23326)."""
    fields = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
    answer, broken = await ask(proxy, f"/{list(ANSWERS).index(name)}", fields)
    assert broken or answer is not None
    if answer is not None:
        assert answer.status != 101
        assert answer.value("x-smuggled") == ""
        assert not re.search(b"poison", answer.body)
    await canary(proxy, name)
