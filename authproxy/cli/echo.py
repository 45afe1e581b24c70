"""A small backend to try a proxy with: it tells what reached it, streams, sends events and speaks WebSocket.

It is the demo's own and trusts everybody: it listens on the loopback only.
"""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

CHUNK = b"\0" * 65536
STREAM_MOST = 1 << 30
EVENTS_MOST = 1000
GREETING = "hello from the backend: whatever you send comes back"
_TEXT_MOST = 1024


def echo_app() -> web.Application:
    """`/stream?bytes=N`, `/events?count=N` and `/ws`; everything else is told what it asked, as JSON."""
    app = web.Application(client_max_size=0)
    app.router.add_get("/stream", _stream)
    app.router.add_get("/events", _events)
    app.router.add_get("/ws", _websocket)
    app.router.add_route("*", "/{path:.*}", _echo)
    return app


@asynccontextmanager
async def echo_backend() -> AsyncIterator[str]:
    """The backend on a free port of the loopback; gives its URL."""
    runner = web.AppRunner(echo_app(), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()


async def _echo(request: web.Request) -> web.Response:
    size, start = 0, b""
    async for chunk in request.content.iter_any():
        size += len(chunk)
        start += chunk[: _TEXT_MOST - len(start)]
    headers: dict[str, str] = {}
    for name, value in request.headers.items():
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    told = {
        "method": request.method,
        "target": request.raw_path,
        "headers": headers,
        "body": start.decode("utf-8", "replace"),
        "body_bytes": size,
    }
    return web.json_response(text=json.dumps(told, indent=2) + "\n")


def _number(request: web.Request, name: str, default: int, most: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > most:
        raise web.HTTPBadRequest(text=f"{name} is a number up to {most}\n")
    return int(text)


async def _stream(request: web.Request) -> web.StreamResponse:
    """So many bytes, made as they are sent: neither side ever holds them all."""
    left = _number(request, "bytes", 1 << 20, STREAM_MOST)
    response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
    response.content_length = left
    await response.prepare(request)
    while left:
        chunk = CHUNK[:left]
        await response.write(chunk)
        left -= len(chunk)
    return response


async def _events(request: web.Request) -> web.StreamResponse:
    """Server-sent events, half a second apart."""
    count = _number(request, "count", EVENTS_MOST, EVENTS_MOST)
    headers = {"Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    await response.prepare(request)
    for number in range(1, count + 1):
        await response.write(f"id: {number}\ndata: event {number} of {count}\n\n".encode())
        await asyncio.sleep(0.5 if number < count else 0)
    return response


async def _websocket(request: web.Request) -> web.WebSocketResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    await socket.send_str(GREETING)
    async for message in socket:
        if message.type is web.WSMsgType.TEXT:
            await socket.send_str(message.data)
        elif message.type is web.WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    return socket
