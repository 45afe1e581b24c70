"""ASGI (Starlette, FastAPI, Django's ASGI, Quart): an application that is asked only when it is known who is calling.

The identity is in the scope, as `scope["authproxy.identity"]`. Nothing is judged here.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from authproxy.backend.assertion import (
    ANSWER_HEADERS,
    HEADER,
    IDENTITY,
    AssertionRefused,
    Verifier,
    problem,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

_NAME = HEADER.lower().encode()
_POLICY_VIOLATION = 1008  # RFC 6455 section 7.4.1
_DENIAL = "websocket.http.response"


class Verified:
    """The application behind the verifier: requests and WebSockets without a good assertion are answered here.

    `required` False lets requests without one through, with None as their identity; a bad one is refused all the same.
    """

    def __init__(self, app: Application, verifier: Verifier, *, required: bool = True) -> None:
        self._app = app
        self._verifier = verifier
        self._required = required

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection scope."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        values = [
            value.decode("latin-1") for name, value in scope["headers"] if name.lower() == _NAME
        ]
        try:
            known = values or self._required
            identity = await self._verifier.verify_async(values) if known else None
        except AssertionRefused as refused:
            await _refuse(scope, receive, send, refused)
            return
        await self._app({**scope, IDENTITY: identity}, receive, send)


async def _refuse(scope: Scope, receive: Receive, send: Send, refused: AssertionRefused) -> None:
    body, kind = problem(refused), "http.response"
    if scope["type"] == "websocket":
        await receive()  # websocket.connect
        if _DENIAL not in (scope.get("extensions") or {}):
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION})
            return
        kind = _DENIAL
    headers = [(name.lower().encode(), value.encode()) for name, value in ANSWER_HEADERS]
    headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": f"{kind}.start", "status": refused.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": body})
