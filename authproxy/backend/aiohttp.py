"""aiohttp: a middleware that asks its application only when it is known who is calling.

The identity is in the request, as `request[IDENTITY]`. Nothing is judged here; no other file of the kit needs
aiohttp.
"""

from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Middleware

from authproxy.backend.assertion import (
    ANSWER_HEADERS,
    HEADER,
    AssertionRefused,
    Identity,
    Verifier,
    problem,
)

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
IDENTITY = web.RequestKey[Identity | None]("authproxy.identity")


def verified(verifier: Verifier, *, required: bool = True) -> Middleware:
    """The middleware: requests without a good assertion are answered here.

    `required` False lets requests without one through, with None as their identity; a bad one is refused all the same.
    """

    @web.middleware
    async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
        values = request.headers.getall(HEADER, [])
        try:
            known = values or required
            request[IDENTITY] = await verifier.verify_async(values) if known else None
        except AssertionRefused as refused:
            headers = dict(ANSWER_HEADERS)
            return web.Response(status=refused.status, body=problem(refused), headers=headers)
        return await handler(request)

    return middleware
