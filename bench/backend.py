"""A backend that costs as little as Python can.

    GET /echo      a WebSocket that sends back each message (of up to 125 bytes)
    GET /files/N   N bytes, as fast as they are taken
    GET /…         1 KiB
    POST /…        takes the body, answers 204

It writes its port into the file that it is given.
"""

import asyncio
import base64
import hashlib
import re
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import cast

import uvloop

SMALL = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 1024\r\n\r\n" + b"x" * 1024
TAKEN = b"HTTP/1.1 204 No Content\r\n\r\n"
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: %s\r\n\r\n"
)
PIECE = b"x" * (256 << 10)
GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455 section 1.3


def header(head: bytes, name: bytes) -> bytes:
    """A field of a head; empty where it is absent."""
    found = re.search(rb"\r\n" + name + rb": *([^\r]*)", head, re.IGNORECASE)
    return found[1] if found else b""


def echo(buffer: bytes) -> tuple[bytes, bytes]:
    """The masked frames at the front as unmasked ones, and what is left (RFC 6455 section 5.2)."""
    out = []
    while len(buffer) >= 6 and len(buffer) >= (size := buffer[1] & 127) + 6:
        mask = int.from_bytes((buffer[2:6] * (size // 4 + 1))[:size])
        out.append(bytes([buffer[0], size]))
        out.append((int.from_bytes(buffer[6 : 6 + size]) ^ mask).to_bytes(size))
        buffer = buffer[6 + size :]
    return b"".join(out), buffer


class Backend(asyncio.Protocol):
    """One connection: `take` is what reads its next bytes, and returns what it could not use yet."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a head."""
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is no subclass of it
        self.rest, self.left = b"", 0
        self.take: Callable[[bytes], bytes] = self.heads

    def data_received(self, data: bytes) -> None:
        """Read as far as it goes."""
        self.rest = self.take(self.rest + data if self.rest else data)

    def heads(self, data: bytes) -> bytes:
        """Answer each whole head."""
        while (end := data.find(b"\r\n\r\n") + 4) > 3:
            head, data = data[:end], data[end:]
            if head.startswith(b"GET /echo"):
                key = header(head, b"Sec-WebSocket-Key")
                accept = base64.b64encode(hashlib.sha1(key + GUID).digest())
                self.transport.write(SWITCHED % accept)
                self.take = self.frames
                return self.frames(data)
            if head.startswith(b"GET /files/"):
                self.send(int(head[11 : head.index(b" ", 11)]))
            elif head.startswith(b"GET "):
                self.transport.write(SMALL)
            else:
                self.left = int(header(head, b"Content-Length"))
                self.take = self.body
                return self.body(data)
        return data

    def frames(self, data: bytes) -> bytes:
        """Send messages back."""
        out, rest = echo(data)
        if out:
            self.transport.write(out)
        return rest

    def body(self, data: bytes) -> bytes:
        """Take a body, then say so."""
        self.left -= len(data)
        if self.left == 0:
            self.transport.write(TAKEN)
            self.take = self.heads
        return b""

    def send(self, size: int) -> None:
        """Begin a long answer."""
        self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size)
        self.left = size
        self.resume_writing()

    def pause_writing(self) -> None:
        """The proxy is slower: wait."""
        self.paused = True

    def resume_writing(self) -> None:
        """Go on with a long answer."""
        self.paused = False
        while self.left > 0 and not self.paused and not self.transport.is_closing():
            piece = PIECE if self.left >= len(PIECE) else PIECE[: self.left]
            self.left -= len(piece)
            self.transport.write(piece)


async def serve(listener: socket.socket) -> None:
    """Serve until ended."""
    server = await asyncio.get_running_loop().create_server(Backend, sock=listener)
    await server.serve_forever()


if __name__ == "__main__":
    listening = socket.create_server(("127.0.0.1", 0), backlog=4096)
    Path(sys.argv[1]).write_text(f"{listening.getsockname()[1]}\n")
    uvloop.run(serve(listening))
