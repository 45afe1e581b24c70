"""An ASGI application behind the verifier: who is calling is in its scope, or it is not asked at all."""

import json
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any

import pytest

from authproxy.backend.asgi import Verified
from tests.backend.proxy import assertion, verifier

Message = MutableMapping[str, Any]


class Recorder:
    """An application that notes what it was asked."""

    def __init__(self) -> None:
        self.scopes: list[Any] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})


async def ask(app: Any, *values: str, kind: str = "http", **scope: Any) -> list[Message]:
    """What the application answers to a request with these fields."""
    sent: list[Message] = []
    fields = [(b"x-authproxy-assertion", value.encode("latin-1")) for value in values]

    async def receive() -> Message:
        return {"type": f"{kind}.connect"}

    async def send(message: Message) -> None:
        sent.append(message)

    await app({"type": kind, "headers": [(b"host", b"a"), *fields], **scope}, receive, send)
    return sent


async def test_the_identity_is_in_the_scope(tmp_path: Path) -> None:
    """Frozen, under one name, for requests and WebSockets; the server's own scope is left alone."""
    app = Recorder()
    for kind in ("http", "websocket"):
        await ask(Verified(app, verifier(tmp_path)), assertion(), kind=kind)
        assert app.scopes[-1]["authproxy.identity"].subject == "alice"
        assert app.scopes[-1]["type"] == kind


@pytest.mark.parametrize("values", [(), ("evil",), ("", ""), ("é",)])
async def test_nobody_else_gets_in(tmp_path: Path, values: tuple[str, ...]) -> None:
    """401 as problem+json; the application is not asked."""
    app = Recorder()
    start, body = await ask(Verified(app, verifier(tmp_path)), *values)
    assert (start["status"], app.scopes) == (401, [])
    headers = dict(start["headers"])
    assert headers[b"content-type"] == b"application/problem+json"
    assert headers[b"content-length"] == str(len(body["body"])).encode()
    assert json.loads(body["body"])["status"] == 401


async def test_two_good_ones_are_not_one(tmp_path: Path) -> None:
    """Which of them the proxy sent nobody can say."""
    app, text = Recorder(), assertion()
    start, _ = await ask(Verified(app, verifier(tmp_path)), text, text)
    assert (start["status"], app.scopes) == (401, [])


async def test_a_websocket_is_refused_before_it_is_one(tmp_path: Path) -> None:
    """With the answer where the server can send one, else by closing: both are no handshake."""
    app = Recorder()
    guarded = Verified(app, verifier(tmp_path))
    (closed,) = await ask(guarded, kind="websocket")
    assert closed == {"type": "websocket.close", "code": 1008}
    start, body = await ask(guarded, kind="websocket", extensions={"websocket.http.response": {}})
    assert (start["type"], start["status"]) == ("websocket.http.response.start", 401)
    assert body["type"] == "websocket.http.response.body"
    assert app.scopes == []


async def test_where_it_is_not_required(tmp_path: Path) -> None:
    """Nobody is None; a bad one is refused all the same."""
    app = Recorder()
    guarded = Verified(app, verifier(tmp_path), required=False)
    await ask(guarded)
    assert app.scopes[0]["authproxy.identity"] is None
    await ask(guarded, assertion())
    assert app.scopes[1]["authproxy.identity"].subject == "alice"
    start, _ = await ask(guarded, assertion(audience="billing"))
    assert (start["status"], len(app.scopes)) == (401, 2)


async def test_the_lifespan_passes(tmp_path: Path) -> None:
    """It is no request."""
    app = Recorder()
    await ask(Verified(app, verifier(tmp_path)), kind="lifespan")
    assert [scope["type"] for scope in app.scopes] == ["lifespan"]
