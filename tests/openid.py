"""An OpenID provider on loopback that does as it is told: it is right until a test makes it wrong in one thing."""

import asyncio
import base64
import hashlib
import secrets
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from authproxy.authn.issue import generate_key, public_jwks
from tests.wire import Json

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]
DISCOVERY = "/.well-known/openid-configuration"
CLIENT, SECRET = "proxy client", "s3cret: with/colon and some length"
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"
ANN: Json = {
    "sub": "ann", "groups": ["eng", "ops"], "email": "ann@x.test", "email_verified": True,
    "name": "Ann", "preferred_username": "ann.a",
}  # fmt: skip


@dataclass
class EvilProvider:
    """`claims` and `header` change its ID tokens, `person` is who logs in, `tokens` changes what its token endpoint
    answers, `answers` what any of its paths does, `metadata` what it says of itself.
    """

    url: str = ""
    key: bytes = field(default_factory=lambda: generate_key("ES256"))
    kid: str = ""
    person: Json = field(default_factory=lambda: dict(ANN))
    claims: Json = field(default_factory=dict)
    header: Json = field(default_factory=dict)
    tokens: Json = field(default_factory=dict)
    metadata: Json = field(default_factory=dict)
    answers: dict[str, Answer] = field(default_factory=dict)
    asked: Counter[str] = field(default_factory=Counter)
    codes: dict[str, Json] = field(default_factory=dict)
    refresh_tokens: dict[str, Json] = field(default_factory=dict)
    spent: list[str] = field(default_factory=list)
    seen: list[tuple[Json, dict[str, str]]] = field(default_factory=list)  # at the token endpoint
    lifetime: float = 3600.0

    def jwks(self) -> Json:
        """Its keys."""
        return public_jwks([self.key], ["ES256"])

    def rotate(self) -> None:
        """A new key, and the old one withdrawn."""
        self.key = generate_key("ES256")

    def settings(self, **changes: Any) -> Json:
        """The authenticator that trusts it."""
        return {
            "type": "oidc", "issuer": self.url, "client_id": CLIENT, "client_secret": {"env": "OIDC_SECRET"},
            "scopes": ["openid", "profile", "email", "groups"], **changes,
        }  # fmt: skip

    def sign(self, claims: Json, **header: Any) -> str:
        """A token of its own; `alg`, `key` and any part of the header as the test wants."""
        algorithm = header.pop("alg", "ES256")
        key = header.pop("key", None)
        private = load_pem_private_key(self.key, password=None)
        kid = self.jwks()["keys"][0]["kid"]
        fields = {
            name: value for name, value in {"kid": kid, **header}.items() if value is not None
        }
        return jwt.encode(claims, private if key is None else key, algorithm, headers=fields)  # type: ignore[arg-type]  # a private key

    def id_token(self, nonce: str | None, access_token: str = "", **changes: Any) -> str:
        """Who logged in."""
        now = time.time()
        half = hashlib.sha256(access_token.encode()).digest()[:16]
        claims = {
            "iss": self.url, "aud": CLIENT, "iat": int(now), "exp": int(now + self.lifetime), "sid": "s1",
            "at_hash": base64.urlsafe_b64encode(half).rstrip(b"=").decode(),
            **self.person, **({"nonce": nonce} if nonce else {}), **self.claims, **changes,
        }  # fmt: skip
        return self.sign({k: v for k, v in claims.items() if v is not None}, **self.header)

    def logout_token(self, **changes: Any) -> str:
        """Who is out."""
        header = {"typ": changes.pop("typ", "logout+jwt"), **changes.pop("header", {})}
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT, "iat": now, "exp": now + 120, "jti": secrets.token_hex(8),
            "events": {LOGOUT_EVENT: {}}, "sid": "s1", **changes,
        }  # fmt: skip
        return self.sign({k: v for k, v in claims.items() if v is not None}, **header)

    def grant(self, location: str, **changes: str | None) -> str:
        """What a browser that was sent to `location` is sent back with, once somebody has logged in there."""
        parts = urlsplit(location)
        assert f"{parts.scheme}://{parts.netloc}{parts.path}" == f"{self.url}/authorize"
        asked = {name: values[0] for name, values in parse_qs(parts.query).items()}
        code = secrets.token_urlsafe(16)
        self.codes[code] = asked
        said = {"code": code, "state": asked["state"], "iss": self.url, **changes}
        query = urlencode({name: value for name, value in said.items() if value is not None})
        back = urlsplit(asked["redirect_uri"])
        return f"{back.path}?{query}"

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        self.asked[request.path] += 1
        if request.path in self.answers:
            return await self.answers[request.path](request)
        if request.path == DISCOVERY:
            return web.json_response(self._says())
        if request.path == "/jwks":
            return web.json_response(self.jwks())
        if request.path == "/userinfo":
            return web.json_response(self.person)
        if request.path == "/token":
            return await self._token(request)
        return web.Response(status=404)

    def _says(self) -> Json:
        said = {
            "issuer": self.url, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks", "userinfo_endpoint": f"{self.url}/userinfo",
            "end_session_endpoint": f"{self.url}/end", "authorization_response_iss_parameter_supported": True,
            **self.metadata,
        }  # fmt: skip
        return {name: value for name, value in said.items() if value is not None}

    async def _token(self, request: web.Request) -> web.Response:
        form = {name: str(value) for name, value in (await request.post()).items()}
        self.seen.append((form, dict(request.headers)))
        access = secrets.token_urlsafe(16)
        if form["grant_type"] == "refresh_token":
            old = form["refresh_token"]
            self.spent.append(old)
            asked = self.refresh_tokens.pop(old, None)
        else:
            asked = self.codes.pop(form["code"], None)
        if asked is None or not self._proves(form, asked):
            return web.json_response(
                {"error": "invalid_grant", "error_description": "<b>"}, status=400
            )
        refresh = secrets.token_urlsafe(16)
        self.refresh_tokens[refresh] = asked
        again = form["grant_type"] == "refresh_token"
        answer = {
            "access_token": access, "token_type": "Bearer", "expires_in": self.lifetime, "refresh_token": refresh,
            "id_token": self.id_token(None if again else asked.get("nonce"), access), **self.tokens,
        }  # fmt: skip
        return web.json_response(
            {name: value for name, value in answer.items() if value is not None}
        )

    def _proves(self, form: Json, asked: Json) -> bool:
        if form["grant_type"] == "refresh_token":
            return True
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        said = (challenge, form["redirect_uri"])
        return said == (asked["code_challenge"], asked["redirect_uri"])


def says(body: object, status: int = 200) -> Answer:
    """An answer: bytes as they are, all else as JSON."""

    async def answer(_request: web.Request) -> web.StreamResponse:
        if isinstance(body, bytes):
            return web.Response(body=body, status=status)
        return web.json_response(body, status=status)

    return answer


async def hangs(_request: web.Request) -> web.StreamResponse:
    """No answer."""
    await asyncio.sleep(60)
    return web.Response()


async def endless(request: web.Request) -> web.StreamResponse:
    """A body that goes on."""
    answer = web.StreamResponse()
    await answer.prepare(request)
    with suppress(ConnectionError):  # whoever asked has had enough
        while True:
            await answer.write(b" " * 65536)
    return answer


@asynccontextmanager
async def evil_provider(port: int = 0) -> AsyncIterator[EvilProvider]:
    """A provider that runs."""
    provider, app = EvilProvider(), web.Application()
    app.router.add_route("*", "/{rest:.*}", provider._handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1, access_log=None, handler_cancellation=True)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    provider.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield provider
    finally:
        await runner.cleanup()
