"""The one mutable record of a request that every layer reads and writes; it lives as long as the request does.

Layers hand nothing to each other but this. What is None has not been found out (yet).
"""

from collections.abc import Mapping
from typing import Any

from authproxy.model.address import LOOPBACK, Address
from authproxy.model.headers import Kind, lower_names
from authproxy.model.identity import Identity
from authproxy.model.target import Target

HeaderLine = tuple[bytes, bytes]


class Exchange:
    """A request on its way through the chain.

    The first group is what `intake` found out and policies may read: `method`, `host` (lower case, without port and
    trailing dot), `host_field` (as sent), `scheme`, `target`, `client` and `chain` (client to peer, both in it).
    `lines` are the header fields that may pass to the backend, in order; `authorization` and `cookies` wait until
    the route is known. `route`, `identity` and `code` are what the decision came to; the log is written from here.
    """

    __slots__ = (
        "admitted", "authorization", "bytes_in", "bytes_out", "chain", "chunked", "client", "client_text",
        "code", "content_length", "cookies", "expects_continue", "headers_seen", "host", "host_field",
        "http_version", "identity", "limit_lines", "lines", "listener", "method", "now", "overrides_method", "peer",
        "raw_target", "reason", "request_id", "route", "scheme", "shadow", "started", "status", "target",
        "traceparent", "tracestate", "upgrade", "upstream_seconds",
    )  # fmt: skip

    def __init__(self, request_id: str, now: float, started: float) -> None:
        self.request_id = request_id
        self.now = now  # seconds since the epoch, when the head was complete
        self.started = started  # the same on the monotonic clock
        self.http_version = "1.1"
        self.listener = ""
        self.peer: Address = LOOPBACK
        self.client: Address = LOOPBACK
        self.client_text = "127.0.0.1"
        self.chain: tuple[str, ...] = ("127.0.0.1",)
        self.scheme = "http"
        self.method = ""
        self.overrides_method = False  # one of `lines` asks frameworks for another method
        self.host = ""
        self.host_field = ""
        self.raw_target = ""
        self.target: Target | None = None
        self.lines: list[HeaderLine] = []
        self.authorization: bytes | None = None
        self.cookies: list[bytes] = []
        self.content_length: int | None = None
        self.chunked = False
        self.expects_continue = False
        self.upgrade: bytes | None = None
        self.traceparent = ""
        self.tracestate = ""
        self.headers_seen: Mapping[str, str] | None = None
        self.route: Any = None  # policy.table.Route, a floor above
        self.identity: Identity | None = None
        self.admitted = False
        self.code = ""
        self.reason = ""
        self.shadow = ""
        self.limit_lines: list[tuple[str, str]] = []  # (RateLimit-Policy, RateLimit) members
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream_seconds = 0.0

    def take_line(self, kind: Kind, line: HeaderLine) -> bool:
        """Keep a field that may pass to the backend, as far as is known before the route is; False: it may not."""
        if kind is Kind.METHOD_OVERRIDE:
            self.overrides_method = True
        elif kind is not Kind.PASS:
            return False
        self.lines.append(line)
        return True

    def apply_connection(self, options: set[bytes]) -> None:
        """Drop what `Connection` names, before anything of ours is set (RFC 9110 section 7.6.1)."""
        named = options - {b"close", b"keep-alive", b"upgrade"}
        if named:
            self.lines = [line for line in self.lines if line[0].lower() not in named]
            if b"cookie" in named:
                self.cookies = []
            if b"authorization" in named:
                self.authorization = None
        if b"upgrade" not in options:
            self.upgrade = (
                None  # RFC 9110 section 7.8: without the option the field asks for nothing
            )

    @property
    def path(self) -> str:
        """The decoded path; empty where the target could not be read."""
        return self.target.path if self.target is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields as policies see them: names in lower case, values joined with `, `."""
        if self.headers_seen is None:
            self.headers_seen = lower_names(self.lines)
        return self.headers_seen

    @property
    def has_body(self) -> bool:
        """Does a request body follow the head (RFC 9112 section 6)?"""
        return self.chunked or bool(self.content_length)
