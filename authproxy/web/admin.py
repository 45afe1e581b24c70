"""The admin listener: health for whoever runs us. Never on a listener that is proxied, and nothing in it is secret."""

from collections.abc import Callable

from aiohttp import web


def admin_app(ready: Callable[[], str | None]) -> web.Application:
    """`/healthz`: the process lives. `/readyz`: it should be sent requests; `ready` says why not, or None."""

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = ready()
        return web.Response(text=f"{why or 'ready'}\n", status=503 if why else 200)

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    return app
