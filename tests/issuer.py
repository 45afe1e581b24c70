"""An issuer of tokens on loopback that counts what it is asked, and answers as it is told: well, wrongly, or never."""

import asyncio
import json
import ssl
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from authproxy.authn.issue import generate_key, public_jwks, sign_test_token
from authproxy.config.authenticators import JwtAuthenticator
from tests.wire import Json

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
JWKS, DISCOVERY = "/jwks", "/.well-known/openid-configuration"


@dataclass
class CountingIssuer:
    """`keys` are published at `/jwks` and by discovery; `answers` replaces what a path answers with."""

    url: str = ""
    keys: list[bytes] = field(default_factory=lambda: [generate_key("ES256")])
    headers: dict[str, str] = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)

    @property
    def fetches(self) -> int:
        """How often the key set was asked for."""
        return self.asked[JWKS]

    def rotate(self) -> None:
        """A new key, and the old one withdrawn."""
        self.keys = [generate_key("ES256")]

    def jwks(self) -> Json:
        """The key set as it is published."""
        return public_jwks(self.keys, ["ES256"])

    def authenticator(self, **keys: Any) -> Json:
        """The settings of an authenticator that fetches its keys from here; by URL unless `keys` says otherwise."""
        found = keys if "discovery" in keys else {"url": self.url + JWKS, **keys}
        return {
            "type": "jwt", "issuer": self.url, "audiences": ["api"], "algorithms": ["ES256"], "keys": found,
        }  # fmt: skip

    def settings(self, **keys: Any) -> JwtAuthenticator:
        """The same, as a model."""
        return JwtAuthenticator.model_validate(self.authenticator(**keys))

    def token(self, key: bytes | None = None, **wishes: Any) -> str:
        """A token of the newest key."""
        wanted = {"subject": "alice", "now": time.time(), **wishes}
        return sign_test_token(self.settings(), key or self.keys[-1], **wanted)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        if request.path in self.answers:
            return await self.answers[request.path](request)
        if request.path == JWKS:
            return web.json_response(self.jwks(), headers=self.headers)
        if request.path == DISCOVERY:
            return web.json_response({"issuer": self.url, "jwks_uri": self.url + JWKS})
        return web.Response(status=404)


def says(body: object, status: int = 200, **headers: str) -> Answer:
    """An answer: bytes as they are, all else as JSON."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return web.Response(body=content, status=status, headers=headers)

    return answer


async def hangs(_request: web.Request) -> web.StreamResponse:
    """No answer."""
    await asyncio.sleep(60)
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """A body that goes on."""
    return await _write(request, b" " * 65536, 0.0)


async def drips(request: web.Request) -> web.StreamResponse:
    """A body that comes byte by byte."""
    return await _write(request, b" ", 0.05)


async def _write(request: web.Request, chunk: bytes, pause: float) -> web.StreamResponse:
    answer = web.StreamResponse()
    await answer.prepare(request)
    while True:
        await answer.write(chunk)
        await asyncio.sleep(pause)


@asynccontextmanager
async def issuing(
    port: int = 0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[CountingIssuer]:
    """An issuer that runs; `port` 0 is any."""
    issuer, app = CountingIssuer(), web.Application()
    app.router.add_route("*", "/{rest:.*}", issuer._handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", port, ssl_context=tls)
    await site.start()
    scheme = "http" if tls is None else "https"
    issuer.url = f"{scheme}://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield issuer
    finally:
        await runner.cleanup()
