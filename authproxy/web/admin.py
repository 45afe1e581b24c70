"""The admin listener: health for whoever runs us. Never on a listener that is proxied, and nothing in it is secret."""

import asyncio
from collections.abc import Awaitable, Callable, Generator, Iterable
from typing import TypeVar

import orjson
from aiohttp import web

from authproxy.config.schema import Config
from authproxy.model.errors import Refusal
from authproxy.model.host import parse_host
from authproxy.web.status import Facts, assemble
from authproxy.web.status_page import POLICY, REFRESH, page

T = TypeVar("T")
EXPOSITION = "text/plain; version=0.0.4; charset=utf-8"
LOCAL = frozenset({"localhost", "127.0.0.1", "[::1]"})
GUARDED = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept",
    "X-Content-Type-Options": "nosniff",
}


def admin_app(
    ready: Callable[[], str | None],
    metrics: Callable[[], Generator[None, None, str]],
    status: Callable[[], Generator[None, None, Facts]] | None = None,
    troubles: Callable[[], Iterable[str]] = tuple,
) -> web.Application:
    """`/healthz`: the process lives. `/readyz`: it should be sent requests; `ready` says why not, or None; `troubles`
    adds a line for each that does not yet keep it from serving. `/metrics`: what `metrics` comes to, of all workers.
    `/status`: what `status` does, for programs or for people.
    """

    async def healthz(_request: web.Request) -> web.Response:
        return web.Response(text="ok\n")

    async def readyz(_request: web.Request) -> web.Response:
        why = ready()
        lines = (why or "ready", *troubles())
        return web.Response(text="".join(f"{x}\n" for x in lines), status=503 if why else 200)

    async def scrape(_request: web.Request) -> web.Response:
        text = await unhurried(metrics())
        return web.Response(body=text.encode(), headers={"Content-Type": EXPOSITION})

    async def anonymous(_request: web.Request, response: web.StreamResponse) -> None:
        response.headers["Server"] = "authproxy"  # aiohttp's own tells its version and Python's

    app = web.Application()
    app.on_response_prepare.append(anonymous)
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    app.router.add_get("/metrics", scrape)
    if status is not None:
        app.router.add_get("/status", _status(status))
    return app


async def unhurried(work: Generator[None, None, T]) -> T:
    """What the work comes to; at each of its pauses whatever else there is to do goes first."""
    while True:
        try:
            next(work)
        except StopIteration as done:
            found: T = done.value
            return found
        await asyncio.sleep(0)


def _status(
    status: Callable[[], Generator[None, None, Facts]],
) -> Callable[[web.Request], Awaitable[web.Response]]:
    async def show(request: web.Request) -> web.Response:
        facts = await unhurried(status())
        if not asks_us(request, facts.runtime.config):
            return _misdirected()
        # In a thread: with thousands of routes it takes a while, and this loop serves requests.
        return await asyncio.to_thread(_answer, facts, request)

    return show


def _answer(facts: Facts, request: web.Request) -> web.Response:
    found = assemble(facts)
    if not wants_page(request):
        return web.Response(
            body=orjson.dumps(found) + b"\n", content_type="application/json", headers=GUARDED
        )
    refresh = None if request.query.get("refresh") == "off" else REFRESH
    headers = {**GUARDED, "Content-Security-Policy": POLICY}
    return web.Response(
        text=page(found, refresh), content_type="text/html", charset="utf-8", headers=headers
    )


def wants_page(request: web.Request) -> bool:
    """Is it a browser that asks, and not for `?format=json`?"""
    accepted = ",".join(request.headers.getall("Accept", ()))
    return request.query.get("format") != "json" and "text/html" in accepted.lower()


def asks_us(request: web.Request, config: Config) -> bool:
    """Does the Host field name this listener: its own address, or the machine that it is on?

    Else another site's page could have its name point here, and read the answer as its own (DNS rebinding). Addresses
    cannot be pointed anywhere, so the one that the connection came to is good also where all are listened on.
    """
    fields = request.headers.getall("Host", ())
    if len(fields) != 1:
        return False
    try:
        host = parse_host(fields[0])
    except Refusal:
        return False
    return host in LOCAL or host in _own(request, config)


def _own(request: web.Request, config: Config) -> set[str]:
    where = request.transport.get_extra_info("sockname") if request.transport else None
    reached = where[0].removeprefix("::ffff:") if isinstance(where, tuple) else ""
    configured = config.admin.address.host.lower() if config.admin else ""
    return {f"[{host}]" if ":" in host else host for host in (reached, configured) if host}


def _misdirected() -> web.Response:
    refusal = Refusal("misdirected")
    body = {
        "type": f"urn:problem-type:authproxy:{refusal.code}",
        "title": refusal.title,
        "status": refusal.status,
        "code": refusal.code,
    }
    return web.Response(
        body=orjson.dumps(body),
        status=refusal.status,
        content_type="application/problem+json",
        headers=GUARDED,
    )
