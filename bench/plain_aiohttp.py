"""What people write first: aiohttp.web, PyJWT on every request, ClientSession towards the backend. On uvloop as well."""

import json
import os
import ssl
from pathlib import Path

import aiohttp
import jwt
from aiohttp import web

BACKEND = f"http://127.0.0.1:{os.environ['BENCH_BACKEND']}"
KEYS = {
    key["kid"]: jwt.PyJWK(key).key
    for key in json.loads(Path(os.environ["BENCH_JWKS"]).read_bytes())["keys"]
}
SESSION = web.AppKey("session", aiohttp.ClientSession)


async def handle(request: web.Request) -> web.StreamResponse:
    """Verify, forward, stream back."""
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    try:
        kid = jwt.get_unverified_header(token)["kid"]
        claims = jwt.decode(
            token, KEYS[kid], algorithms=["RS256"], audience="api", issuer="https://issuer.test"
        )
    except (jwt.InvalidTokenError, KeyError):
        return web.Response(status=401)
    if "eng" not in claims.get("groups", ()):
        return web.Response(status=403)
    headers = request.headers.copy()
    headers.popall("Authorization")
    headers["X-Forwarded-User"] = claims["sub"]
    data = request.content if request.body_exists else None
    url = BACKEND + request.raw_path
    async with request.app[SESSION].request(
        request.method, url, headers=headers, data=data, allow_redirects=False
    ) as got:
        response = web.StreamResponse(status=got.status)
        response.content_type = got.content_type
        response.content_length = got.content_length
        await response.prepare(request)
        async for piece in got.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response


async def session(app: web.Application):  # type: ignore[no-untyped-def]  # noqa: ANN201
    """One session for the life of the proxy."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(
        auto_decompress=False, connector=connector, cookie_jar=aiohttp.DummyCookieJar()
    ) as made:
        app[SESSION] = made
        yield


def main() -> None:
    """Serve."""
    import uvloop

    app = web.Application()
    app.cleanup_ctx.append(session)
    app.router.add_route("*", "/{path:.*}", handle)
    context = None
    if os.environ["BENCH_TLS"]:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*os.environ["BENCH_TLS"].split())
    web.run_app(
        app,
        host="127.0.0.1",
        port=int(os.environ["BENCH_PORT"]),
        access_log=None,
        ssl_context=context,
        print=None,
        loop=uvloop.new_event_loop(),
    )


if __name__ == "__main__":
    main()
