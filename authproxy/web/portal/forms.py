"""What a browser sends to our pages: small forms, from our own pages only.

A form has a token that belongs to a cookie of this browser (`__Host-`, so that no sibling host can set it); who lacks one
of both did not get the form from us (CWE-352).
"""

import asyncio
import hashlib
import hmac
import secrets
from base64 import urlsafe_b64encode
from urllib.parse import parse_qsl

from aiohttp import web

from authproxy.model.errors import Refusal
from authproxy.web.answer import send
from authproxy.web.compat import Request
from authproxy.web.own_site import check_own_site

BYTES_MOST = 16 << 10
FIELDS_MOST = 32
SECONDS_MOST = 10.0
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def new_secret() -> str:
    """256 random bits, as a cookie's value."""
    return secrets.token_urlsafe(32)


def form_token(secret: str) -> str:
    """The token of forms that go with this secret, from which it does not follow."""
    digest = hashlib.sha256(b"form of " + secret.encode("utf-8", "surrogatepass")).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def is_our_form(secret: str | None, token: str) -> bool:
    """Does the token go with the secret of this browser?"""
    return bool(secret) and hmac.compare_digest(
        form_token(secret or "").encode(), token.encode("utf-8", "surrogatepass")
    )


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form, each once.

    Raises:
        Refusal: `bad_request`, `body_too_large`, `request_timeout`, `cross_site`.
    """
    exchange = request.exchange
    check_own_site(exchange)
    kind = exchange.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded" or "content-encoding" in exchange.headers:
        raise Refusal("bad_request", "form", close=True)
    body = await read_body(request, BYTES_MOST)
    try:
        pairs = parse_qsl(body.decode("ascii"), keep_blank_values=True, max_num_fields=FIELDS_MOST)
    except ValueError:
        raise Refusal("bad_request", "form") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise Refusal("bad_request", "form")
    return fields


async def read_body(request: Request, most: int) -> bytes:
    """A small body, whole.

    Raises:
        Refusal: `body_too_large`, `request_timeout`, `bad_request`.
    """
    if (request.exchange.fields.content_length or 0) > most:
        raise Refusal("body_too_large", "form", close=True)
    body = b""
    if request.exchange.fields.expects_continue:
        send(request, CONTINUE)
    try:
        async with asyncio.timeout(SECONDS_MOST):
            while data := await request.content.readany():
                body += data
                if len(body) > most:
                    raise Refusal("body_too_large", "form", close=True)
    except TimeoutError:
        raise Refusal("request_timeout", "form", close=True) from None
    except web.RequestPayloadError:
        raise Refusal("bad_request", "form", close=True) from None
    return body
