"""The one mutable record of a request that every step reads and writes; it lives as long as the request does.

Layers hand nothing to each other but this. What is None has not been found out (yet).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from authproxy.model.address import LOOPBACK, Address
from authproxy.model.fields import Fields
from authproxy.model.identity import Identity
from authproxy.model.rate import Balance
from authproxy.model.target import Target


class Exchange:
    """A request on its way through the chain.

    The first group is what `intake` found out and policies may read: `method`, `host` (lower case, without port and
    trailing dot), `host_field` (as sent), `scheme`, `target`, `client` and `chain` (client to peer, both in it).
    `fields` are its header fields. `route`, `identity` and `code` are what the decision came to; the log is written
    from here.
    """

    __slots__ = (
        "admitted", "bytes_in", "bytes_out", "chain", "client", "client_text", "code", "engine", "fields", "host",
        "host_field", "http_version", "identity", "limits", "listener", "method", "now", "once", "parent_span", "peer",
        "raw_target", "reason",
        "request_id", "route", "scheme", "sent_at", "sent_to", "shadow", "started", "status", "target", "traceparent",
        "tracestate", "upgrade", "upstream_seconds",
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
        self.host = ""
        self.host_field = ""
        self.raw_target = ""
        self.target: Target | None = None
        self.fields = NO_FIELDS
        self.upgrade: bytes | None = None  # what it asks for, in lower case
        self.traceparent = ""
        self.parent_span = ""  # of a trusted proxy, where our spans are in its trace
        self.tracestate = ""
        self.route: Any = None  # policy.table.Route, a floor above
        self.engine: Any = None  # engines.RouteEngine, what serves it; several floors above
        self.identity: Identity | None = None
        self.once: Callable[[], Awaitable[None]] | None = None  # asked last: may it still be sent?
        self.admitted = False
        self.code = ""
        self.reason = ""
        self.shadow = ""
        # What the answer says of limits: rate_limits.step.Terms, a floor above, and what was left.
        self.limits: tuple[tuple[Any, Balance], ...] = ()
        self.status = 0
        self.bytes_in = 0
        self.bytes_out = 0
        self.sent_to = b""  # the server that it was forwarded to, as `host:port`
        self.sent_at = 0.0  # when, on the monotonic clock
        self.upstream_seconds = 0.0  # from there to the head of the answer

    @property
    def path(self) -> str:
        """The decoded path; empty where the target could not be read."""
        return self.target.path if self.target is not None else ""

    @property
    def headers(self) -> Mapping[str, str]:
        """The header fields as policies see them: names in lower case, values joined with `, `."""
        return self.fields.headers


# Shared, so nobody writes to it: an exchange whose fields were read has its own.
NO_FIELDS = Fields()
