"""A backend of its own process that notes whom it was told: `python -m tests.endurance.backend PORT NOTES`.

    GET  …/bytes/N    N bytes, in pieces
    GET  …/events/N   N events, a tenth of a second apart
    GET  …/ws         a WebSocket that echoes
    POST …            takes the body, answers with its length
    GET  …            a few bytes

Each request that reaches it is a line of NOTES before it is answered: the trial's name (`X-Trial`) and the identity
that the proxy gave. It takes its port again when it is started again. For two seconds after SIGUSR1 it resets its
connections instead of answering, some at once, some in the middle of an answer.
"""

import asyncio
import json
import os
import signal
import socket
import struct
import sys
import time
from pathlib import Path

from aiohttp import WSMsgType, web

PIECE = b"x" * 16_384
MARK = "X-Endurance-Backend"  # its answers carry this; no answer of the proxy does
EVENT_EVERY = 0.1
RESETS = 2.0  # seconds
AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: a close is a reset


class Backend:
    """What it notes, and how it answers."""

    def __init__(self, notes: Path) -> None:
        # unbuffered: what was noted stays so when the process is killed
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self._resets_until = 0.0

    def reset(self) -> None:
        """Reset connections for a while."""
        self._resets_until = time.monotonic() + RESETS

    def _note(self, request: web.Request) -> None:
        line = {
            "trial": request.headers.get("X-Trial", ""),
            "user": request.headers.get("X-Forwarded-User", ""),
            "path": request.path,
            "at": time.time(),
        }
        os.write(self._notes, json.dumps(line).encode() + b"\n")

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Note it, then answer by the path's last words."""
        self._note(request)
        if time.monotonic() < self._resets_until:
            return await _reset(request)
        *_, kind, number = ("", *request.path.split("/"))
        if request.headers.get("Upgrade", "").lower() == "websocket":
            return await _echo(request)
        if request.method == "POST":
            length = 0
            async for piece in request.content.iter_any():
                length += len(piece)
            return web.Response(text=str(length), headers={MARK: "1"})
        if kind == "bytes":
            return await _stream(request, int(number))
        if kind == "events":
            return await _events(request, int(number))
        return web.Response(text="ok", headers={MARK: "1"})


async def _reset(request: web.Request) -> web.StreamResponse:
    """Every other time with a head and half a body before."""
    answer = web.StreamResponse(headers={MARK: "1", "Content-Length": "100"})
    if int(time.monotonic() * 1000) % 2 and "Upgrade" not in request.headers:
        await answer.prepare(request)
        await answer.write(PIECE[:50])
    if request.transport is not None:
        sock = request.transport.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
        request.transport.abort()
    return answer


async def _echo(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            await socket.send_str(message.data)
    return socket


async def _stream(request: web.Request, size: int) -> web.StreamResponse:
    answer = web.StreamResponse(headers={MARK: "1"})
    await answer.prepare(request)
    while size > 0:
        await answer.write(PIECE[:size])
        size -= len(PIECE)
    return answer


async def _events(request: web.Request, count: int) -> web.StreamResponse:
    answer = web.StreamResponse(headers={MARK: "1", "Content-Type": "text/event-stream"})
    await answer.prepare(request)
    for number in range(count):
        await answer.write(b"data: %d\n\n" % number)
        await asyncio.sleep(EVENT_EVERY)
    return answer


def main(port: int, notes: Path) -> None:
    """Serve until ended."""
    app, backend = web.Application(client_max_size=1 << 30), Backend(notes)
    app.router.add_route("*", "/{rest:.*}", backend.answer)

    async def listen_to_signals(_app: web.Application) -> None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, backend.reset)

    app.on_startup.append(listen_to_signals)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
