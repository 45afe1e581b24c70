"""Our own endpoints, below `/.authproxy/` on proxied listeners: never forwarded, for hosts that routes name, else 404.

They come after the global limits and inside the envelope, so they are counted and logged as everything else is.
"""

import hashlib
from collections.abc import Awaitable, Callable

from aiohttp import web

from authproxy.authn.keyring import JWKS_MAX_AGE
from authproxy.model.errors import Refusal
from authproxy.web.answer import Answer, respond
from authproxy.web.compat import Request
from authproxy.web.portal.backchannel import backchannel_logout
from authproxy.web.portal.callback import callback
from authproxy.web.portal.handover import handover, ticket
from authproxy.web.portal.login import login
from authproxy.web.portal.logout import logout
from authproxy.web.portal.pages import STYLE
from authproxy.web.portal.portal import CODE, HANDOVER, LOGIN, RESEND, TICKET, USERINFO, Portal
from authproxy.web.portal.resend import resend
from authproxy.web.portal.second_factor import second_factor
from authproxy.web.portal.userinfo import userinfo

JWKS = "/.authproxy/jwks.json"
STYLESHEET = "/.authproxy/style.css"
# Pages for people, where somebody can log in.
PAGES: dict[str, Callable[[Request, Portal], Awaitable[web.Response]]] = {
    LOGIN: login,
    "/.authproxy/logout": logout,
    USERINFO: userinfo,
    CODE: second_factor,
    RESEND: resend,
}
# Steps of a login between hosts: nothing to look at, and each is good once, so a HEAD gets nothing.
STEPS: dict[str, Callable[[Request, Portal], Awaitable[web.Response]]] = {
    HANDOVER: handover,
    TICKET: ticket,
}

# One for each provider: its path ends with the provider's name. What each takes.
OF_PROVIDERS: dict[str, tuple[str, Callable[[Request, Portal, str], Awaitable[web.Response]]]] = {
    "/.authproxy/callback/": ("GET", callback),
    "/.authproxy/backchannel-logout/": ("POST", backchannel_logout),
}


async def endpoint(request: Request) -> Answer:
    """Answer a request below the prefix.

    Raises:
        Refusal: `no_route` where there is nothing for this host or path, `method_not_allowed`; what a page refuses.
    """
    exchange, runtime = request.exchange, request.runtime
    portal = runtime.config.portal
    if not runtime.table.serves(exchange.host) and (portal is None or exchange.host != portal.host):
        raise Refusal("no_route", "reserved")
    if runtime.assertions is not None and exchange.path == JWKS:
        _allow(request, "GET", "HEAD")
        return _jwks(request, runtime.assertions.jwks)
    if runtime.logins and exchange.path == STYLESHEET:
        _allow(request, "GET", "HEAD")
        return respond(request, 200, [_STYLE_HEAD], STYLE)
    folder, _, name = exchange.path.rpartition("/")
    if runtime.logins and f"{folder}/" in OF_PROVIDERS:
        method, answered = OF_PROVIDERS[f"{folder}/"]
        _allow(request, method)
        return _written(request, await answered(request, Portal.of(runtime), name))
    page = (PAGES.get(exchange.path) or STEPS.get(exchange.path)) if runtime.logins else None
    if page is None:
        raise Refusal("no_route", "reserved")
    _allow(request, *(("GET",) if exchange.path in STEPS else ("GET", "HEAD", "POST")))
    return _written(request, await page(request, Portal.of(runtime)))


_STYLE_HEAD = (
    b"Content-Type: text/css; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"
    b"Cache-Control: public, max-age=3600\r\n"
)


def _allow(request: Request, *methods: str) -> None:
    if request.exchange.method not in methods:
        allow = (("Allow", ", ".join(methods)),)
        raise Refusal("method_not_allowed", "reserved", headers=allow)
    request.exchange.admitted = True


def _written(request: Request, page: web.Response) -> Answer:
    """The page as an answer of ours; one that refuses is no admission."""
    request.exchange.admitted = page.status < 400
    head = [f"{name}: {value}\r\n".encode() for name, value in page.headers.items()]
    return respond(request, page.status, head, page.body or b"")  # type: ignore[arg-type]  # always bytes


def _jwks(request: Request, body: bytes) -> Answer:
    """The public keys of the assertion (RFC 7517 section 8.5.1), to be asked for again before a next key signs."""
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    head = [b"Cache-Control: public, max-age=%d\r\nETag: %b\r\n" % (JWKS_MAX_AGE, tag.encode())]
    # RFC 9110 section 13.1.2: compared weakly; a `*` or a list is as good.
    known = {one.strip().removeprefix("W/") for one in _asked(request).split(",")}
    if known & {tag, "*"}:
        return respond(request, 304, head, b"")
    head += [b"Content-Type: application/jwk-set+json\r\nX-Content-Type-Options: nosniff\r\n"]
    return respond(request, 200, head, body)


def _asked(request: Request) -> str:
    return request.exchange.headers.get("if-none-match", "")
