"""The head that the backend gets: what the client sent and may pass, then what only we say.

Everything is removed before anything is set, so no spelling of a client's header survives beside ours, and
`Connection: X-Forwarded-User` removes nothing of ours (CVE-2025-48865, CVE-2022-31813).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import cast

from authproxy.model.errors import Refusal
from authproxy.model.exchange import Exchange
from authproxy.model.fields import Line
from authproxy.model.headers import carried, fold, fold_bytes, overrides_method, without_cookies
from authproxy.model.identity import Identity
from authproxy.model.target import strip_prefix
from authproxy.policy.condition import Expression
from authproxy.policy.table import Route

VIA = b"Via: 1.1 authproxy\r\n"


@dataclass(frozen=True, slots=True)
class Changes:
    """What of a route its heads depend on, beside its upstream and its authenticators: of equal ones one `Outbound` serves all."""

    methods_matter: bool
    strip_prefix: tuple[str, ...]
    remove_headers: frozenset[bytes]
    set_headers: tuple[tuple[bytes, Expression], ...]
    forward_authorization: bool

    @classmethod
    def of(cls, route: Route) -> "Changes":
        """Those of this route."""
        return cls(
            route.methods is not None or route.forward_preflight,
            route.strip_prefix,
            route.remove_headers,
            route.set_headers,
            route.forward_authorization,
        )


class Outbound:
    """Makes the heads of routes that change them alike; compiled when the configuration is.

    `host` is what the backend is told of the host: None passes the client's own. `credential_headers` (folded) and
    `credential_cookies` are what the route's authenticators read; they stay here unless the route says otherwise.
    `assertion` makes the field that proves an identity to the backend, at a moment; None where that is off.
    """

    __slots__ = (
        "_assertion",
        "_changes",
        "_cookies",
        "_drop",
        "_drops_authorization",
        "_host",
        "_plain",
    )

    def __init__(
        self,
        route: Route,
        *,
        host: bytes | None,
        own_cookies: Iterable[str],
        credential_headers: Iterable[str] = (),
        credential_cookies: Iterable[str] = (),
        assertion: Callable[[Identity, float], bytes | None] | None = None,
    ) -> None:
        self._changes = changes = Changes.of(route)
        kept = changes.forward_authorization
        slots = (
            frozenset() if kept else frozenset(fold(name).encode() for name in credential_headers)
        )
        cookies = () if kept else credential_cookies
        self._assertion = assertion
        self._host = host.decode() if host is not None else None
        self._drop = (slots - {b"authorization"}) | changes.remove_headers
        self._drops_authorization = b"authorization" in slots | changes.remove_headers
        self._plain = not self._drop and self._drops_authorization
        self._cookies = frozenset(name.encode() for name in (*own_cookies, *cookies))

    def lines(self, exchange: Exchange) -> list[Line]:
        """The client's fields that pass, in their order, without what this route keeps back."""
        fields = exchange.fields
        lines = fields.lines
        if fields.overrides_method and self._changes.methods_matter:
            # Else a POST that the policy allows would be a DELETE to the framework behind (facts 34).
            lines = [line for line in lines if not overrides_method(line[0])]
        if self._plain and not fields.cookies:
            return lines
        if self._drop:
            lines = [line for line in lines if fold_bytes(line[0]) not in self._drop]
        if fields.cookies and b"cookie" not in self._drop:
            kept = [without_cookies(value, self._cookies) for value in fields.cookies]
            lines = [*lines, *((b"Cookie", value) for value in kept if value)]
        if fields.authorization is not None and not self._drops_authorization:
            lines = [*lines, (b"Authorization", fields.authorization)]
        return lines

    def head(self, exchange: Exchange, *, websocket: bool = False) -> bytes:
        """The whole head, from the request line to the empty line.

        Raises:
            Refusal: `forbidden` with reason `identity_too_large`.
        """
        assert exchange.target is not None
        changes, target = self._changes, exchange.target
        path = strip_prefix(target, changes.strip_prefix) if changes.strip_prefix else target.raw
        head = (
            f"{exchange.method} {path} HTTP/1.1\r\nHost: {self._host or exchange.host_field}\r\n"
            f"X-Request-Id: {exchange.request_id}\r\ntraceparent: {exchange.traceparent}\r\n"
        ).encode() + self._repeated(exchange)
        if self._assertion is not None and exchange.identity is not None:
            head += _bounded(self._assertion(exchange.identity, exchange.now))
        if exchange.tracestate:
            head += f"tracestate: {exchange.tracestate}\r\n".encode()
        if websocket:
            head += b"Connection: Upgrade\r\nUpgrade: websocket\r\n"
        for name, expression in changes.set_headers:
            value = expression.text(exchange)
            # A value from a claim must not end the field it is in, nor be another one to whoever reads it.
            if value is not None and carried(value):
                head += b"%b: %b\r\n" % (name, value.encode())
        return head + b"\r\n"

    def _repeated(self, exchange: Exchange) -> bytes:
        """What is the same for the same fields of the same caller: made once for a client that repeats itself."""
        of = (self, exchange.identity, exchange.chain, exchange.scheme, exchange.host_field)
        memo = exchange.fields.memo
        kept = memo.get(Outbound)
        if kept is None or kept[0] != of:
            kept = memo[Outbound] = of, self._constant(exchange)
        return cast("bytes", kept[1])

    def _constant(self, exchange: Exchange) -> bytes:
        parts = [b"%b: %b\r\n" % line for line in self.lines(exchange)]
        if exchange.fields.chunked:
            parts.append(b"Transfer-Encoding: chunked\r\n")
        elif exchange.fields.content_length is not None:
            parts.append(b"Content-Length: %d\r\n" % exchange.fields.content_length)
        parts.append(_forwarded(exchange.chain, exchange.scheme, exchange.host_field))
        if exchange.identity is not None:
            parts.append(_bounded(exchange.identity.header_block))
        return b"".join(parts)


def _bounded(fields: bytes | None) -> bytes:
    """What the backend is told of an identity, or a refusal: no group is cut off, it could be one that is denied."""
    if fields is None:
        raise Refusal("forbidden", "identity_too_large")
    return fields


@lru_cache(maxsize=4096)
def _forwarded(chain: tuple[str, ...], scheme: str, host: str) -> bytes:
    """X-Forwarded-For, -Proto, -Host, Forwarded (RFC 7239) and Via (RFC 9110 section 7.6.3)."""
    nodes = [f'for="[{a}]"' if ":" in a else f"for={a}" for a in chain]
    nodes[-1] += f';host="{host}";proto={scheme}'
    return (
        f"X-Forwarded-For: {', '.join(chain)}\r\nX-Forwarded-Proto: {scheme}\r\n"
        f"X-Forwarded-Host: {host}\r\nForwarded: {', '.join(nodes)}\r\n"
    ).encode() + VIA
