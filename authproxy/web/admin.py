"""The admin listener: health for whoever runs us. Never on a listener that is proxied, and nothing in it is secret."""

from collections.abc import Callable

from aiohttp import web

EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"


def admin_app(ready: Callable[[], str | None], metrics: Callable[[], str]) -> web.Application:
    """`/healthz`: the process lives. `/readyz`: it should be sent requests; `ready` says why not, or None.
    `/metrics`: what `metrics` says, of all workers.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = ready()
        return web.Response(text=f"{why or 'ready'}\n", status=503 if why else 200)

    async def scrape(_request: web.Request) -> web.Response:
        return web.Response(body=metrics().encode(), headers={"Content-Type": EXPOSITION})

    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
    return app
