"""The answer of a plain listener that serves nothing: where to find the same over TLS (`redirect_to_https`).

The place is made of the host as it was understood and of the client's own bytes, once both are beyond doubt; a host that
no route names is not sent anywhere.
"""

from authproxy.model.errors import Refusal
from authproxy.policy.decide import read_target
from authproxy.web.answer import Answer, persistence, send, status_line
from authproxy.web.compat import Request

HTTPS = 443


async def redirect(request: Request) -> Answer:
    """Answer 308 (RFC 9110 section 15.4.9: the same method again), to the same host, path and query.

    Raises:
        Refusal: `bad_request`, `method_not_allowed`, `no_route`.
    """
    exchange, port = request.exchange, request.server.https_port
    target = read_target(exchange)
    if not request.runtime.table.serves(exchange.host):
        raise Refusal("no_route", "host")
    authority = exchange.host if port == HTTPS else f"{exchange.host}:{port}"
    # A body that nobody reads is no request of the next one's.
    keep = request.content.is_eof() and not (request.head.upgrade or request.head.should_close)
    exchange.status, exchange.reason = 308, "redirect_to_https"
    send(
        request,
        status_line(308, b"Permanent Redirect")
        + f"Location: https://{authority}{target.raw}\r\n".encode("ascii")
        + b"Content-Length: 0\r\n"
        + f"X-Request-Id: {exchange.request_id}\r\n".encode()
        + persistence(exchange, keep=keep)
        + b"\r\n",
    )
    return Answer(308, keep_alive=keep)
