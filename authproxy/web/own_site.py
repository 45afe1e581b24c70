"""Is it our own page that made a browser send this? Cookies go along with whatever another site asks for; so what changes
something, and every WebSocket, must show where it comes from.
"""

from urllib.parse import urlsplit

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 section 9.2.1
_PORTS = {"http": 80, "https": 443}


def check_own_site(exchange: Exchange) -> None:
    """Refuse what another site made a browser send: by Fetch Metadata, and by Origin (RFC 6454 section 7.3).

    Whatever says neither is no browser of the last years.

    Raises:
        Refusal: `cross_site`.
    """
    if exchange.headers.get("sec-fetch-site", "same-origin") not in {"same-origin", "none"}:
        raise Refusal("cross_site", "fetch-site")
    origin = exchange.headers.get("origin")
    if origin is not None and not is_own_origin(exchange, origin):
        raise Refusal("cross_site", "origin")


def check_session_use(exchange: Exchange) -> None:
    """What a session may be used for: to read; to change something from our own pages; a WebSocket from our own Origin.

    Raises:
        Refusal: `cross_site`.
    """
    if exchange.upgrade is not None:
        # Browsers send Origin with every handshake (RFC 6455 section 4.1), and nobody asks before they do.
        origin = exchange.headers.get("origin")
        if origin is None or not is_own_origin(exchange, origin):
            raise Refusal("cross_site", "origin")
    if exchange.method not in SAFE:
        check_own_site(exchange)


def own_origin(exchange: Exchange) -> str:
    """The origin that the request went to, in the one spelling of the configuration's: lower case, no usual port."""
    usual = f":{_PORTS[exchange.scheme]}"
    return f"{exchange.scheme}://{exchange.host_field.lower().removesuffix(usual)}"


def is_own_origin(exchange: Exchange, origin: str) -> bool:
    """Is this the origin that the request went to (RFC 6454 section 4)?"""
    try:
        theirs, ours = urlsplit(origin), urlsplit(f"{exchange.scheme}://{exchange.host_field}")
        ports = [parts.port or _PORTS.get(parts.scheme) for parts in (theirs, ours)]
    except ValueError:
        return False
    same = (theirs.scheme, theirs.hostname) == (ours.scheme, ours.hostname)
    return same and ports[0] == ports[1] and not theirs.path and theirs.username is None
