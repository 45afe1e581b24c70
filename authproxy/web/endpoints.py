"""Our own endpoints, below `/.authproxy/` on proxied listeners: never forwarded, for hosts that routes name, else 404.

They come after the global limits and inside the envelope, so they are counted and logged as everything else is.
"""

import hashlib

from authproxy.authn.keyring import JWKS_MAX_AGE
from authproxy.model.errors import Refusal
from authproxy.web.answer import Answer, respond
from authproxy.web.compat import Request

JWKS = "/.authproxy/jwks.json"


def endpoint(request: Request) -> Answer:
    """Answer a request below the prefix.

    Raises:
        Refusal: `no_route` where there is nothing for this host or path, `method_not_allowed`.
    """
    exchange, runtime = request.exchange, request.runtime
    if (
        exchange.path != JWKS
        or runtime.assertions is None
        or not runtime.table.serves(exchange.host)
    ):
        raise Refusal("no_route", "reserved")
    if exchange.method not in {"GET", "HEAD"}:
        raise Refusal("method_not_allowed", "reserved", headers=(("Allow", "GET, HEAD"),))
    exchange.admitted = True
    return _jwks(request, runtime.assertions.jwks)


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
