"""The answer of a plain listener that serves nothing: where to find the same over TLS (`redirect_to_https`).

The place is made of the host as it was understood and of the client's own bytes, once both are beyond doubt; a host that
no route names is not sent anywhere.
"""

from authproxy.model.errors import Refusal
from authproxy.model.target import parse_target
from authproxy.policy.decide import NEVER_METHODS, never_served
from authproxy.web.answer import Answer, respond
from authproxy.web.compat import Request

HTTPS = 443


def redirect(request: Request) -> Answer:
    """Answer 308 (RFC 9110 section 15.4.9: the same method again), to the same host, path and query.

    Raises:
        Refusal: `bad_request`, `method_not_allowed`, `no_route`.
    """
    exchange, port = request.exchange, request.server.https_port
    if exchange.method in NEVER_METHODS:
        raise never_served(exchange.method)
    exchange.target = target = parse_target(exchange.raw_target)
    if not request.runtime.table.serves(exchange.host):
        raise Refusal("no_route", "host")
    authority = exchange.host if port == HTTPS else f"{exchange.host}:{port}"
    exchange.reason = "redirect_to_https"
    location = f"Location: https://{authority}{target.raw}\r\n".encode("ascii")
    return respond(request, 308, [location], b"")
