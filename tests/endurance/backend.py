"""A backend of its own process that notes whom it was told: `python -m tests.endurance.backend PORT NOTES`.

    GET  …/bytes/N    N bytes, in pieces
    GET  …/events/N   N events, a tenth of a second apart
    GET  …/ws         a WebSocket that echoes
    POST …            takes the body, answers with its length
    GET  …            a few bytes

Each request that reaches it is a line of NOTES before it is answered: the trial's name (`X-Trial`) and the identity
that the proxy gave. It takes its port again when it is started again.
"""

import asyncio
import json
import os
import sys
import time
from pathlib import Path

from aiohttp import WSMsgType, web

PIECE = b"x" * 16_384
MARK = "X-Endurance-Backend"  # its answers carry this; no answer of the proxy does
EVENT_EVERY = 0.1


class Backend:
    """What it notes, and how it answers."""

    def __init__(self, notes: Path) -> None:
        # unbuffered: what was noted stays so when the process is killed
        self._notes = os.open(notes, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

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
    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{rest:.*}", Backend(notes).answer)
    web.run_app(app, host="127.0.0.1", port=port, print=None, access_log=None, shutdown_timeout=0.2)


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
