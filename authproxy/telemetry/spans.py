"""Requests as spans in OpenTelemetry's own format, by its semantic conventions for HTTP. The only import of its packages.

They are the extra `otel`: nothing but `tracing.py` imports this module, and only where spans are asked for.
"""

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import cast
from urllib.parse import urlsplit

from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as service
from opentelemetry.proto.common.v1 import common_pb2 as common
from opentelemetry.proto.trace.v1 import trace_pb2 as trace

from authproxy import __version__
from authproxy.telemetry.otlp import Ended

STRETCH, PAUSE = 8, 0.0005  # requests that are encoded in one go, and seconds between two goes
Said = Mapping[str, str | int]
# Others are told as `_OTHER` (semantic conventions, http.request.method): a client may write any word there.
METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "TRACE"}
)


def encoded(batch: Sequence[Ended], service_name: str) -> bytes:
    """The message for a batch: for each request its own span, and that of what the backend was asked."""
    resource: Said = {
        "service.name": service_name,
        "service.version": __version__,
        "process.pid": os.getpid(),
    }
    message = service.ExportTraceServiceRequest()
    group = message.resource_spans.add()
    group.resource.attributes.extend(_attributes(resource))
    scope = group.scope_spans.add()
    scope.scope.name, scope.scope.version = "authproxy", __version__
    for number, ended in enumerate(batch, 1):
        scope.spans.extend(_spans(ended))
        if not number % STRETCH:
            time.sleep(
                PAUSE
            )  # requests wait for the interpreter, which nobody takes from us sooner than after 5 ms
    return cast("bytes", message.SerializeToString())


def _spans(x: Ended) -> Iterator[trace.Span]:
    trace_id, child = bytes.fromhex(x.traceparent[3:35]), bytes.fromhex(x.traceparent[36:52])
    own = os.urandom(8)
    method = x.method if x.method in METHODS else "_OTHER"
    began = int(x.began * 1e9)
    server = trace.Span(
        trace_id=trace_id,
        span_id=own,
        parent_span_id=bytes.fromhex(x.parent),
        trace_state=x.tracestate,
        flags=int(x.traceparent[53:], 16),
        name=f"{method} {x.route}" if x.route else method.replace("_OTHER", "HTTP"),
        kind=trace.Span.SPAN_KIND_SERVER,
        start_time_unix_nano=began,
        end_time_unix_nano=began + int(x.seconds * 1e9),
    )
    failed = x.status >= 500
    said: Said = {
        "http.request.method": method,
        "http.response.status_code": x.status,
        "http.route": x.route,
        "url.scheme": x.scheme,
        "url.path": x.path,
        "server.address": x.host,
        "network.protocol.version": x.version,
        "error.type": (x.code or str(x.status)) if failed else "",
        "authproxy.code": x.code,
    }
    _finish(server, said, failed=failed)
    yield server
    if x.server:
        yield _asked(x, trace_id, own, child, method, began + int(x.waited * 1e9))


def _asked(
    x: Ended, trace_id: bytes, parent: bytes, own: bytes, method: str, sent: int
) -> trace.Span:
    """The span of what the backend was asked: until the head of its answer, or until there was none to wait for."""
    took = x.answered or x.seconds - x.waited
    span = trace.Span(
        trace_id=trace_id,
        span_id=own,
        parent_span_id=parent,
        trace_state=x.tracestate,
        flags=int(x.traceparent[53:], 16),
        name=method.replace("_OTHER", "HTTP"),
        kind=trace.Span.SPAN_KIND_CLIENT,
        start_time_unix_nano=sent,
        end_time_unix_nano=sent + int(took * 1e9),
    )
    told = x.status if x.answered and not x.code else 0
    address, port = _split(x.server)
    error = str(told) if told >= 400 else "" if told else x.code
    said: Said = {
        "http.request.method": method,
        "http.response.status_code": told,
        "server.address": address,
        "server.port": port,
        "error.type": error,
        "authproxy.upstream": x.upstream,
    }
    _finish(span, said, failed=bool(error))
    return span


def _split(authority: str) -> tuple[str, int]:
    parts = urlsplit(f"//{authority}")
    return parts.hostname or "", parts.port or 0


def _finish(span: trace.Span, said: Said, *, failed: bool) -> None:
    span.attributes.extend(_attributes(said))
    if failed:
        span.status.code = trace.Status.STATUS_CODE_ERROR


def _attributes(said: Said) -> Iterator[common.KeyValue]:
    """What has a value; a number that is 0 says nothing either."""
    for name, value in said.items():
        if value:
            found = (
                common.AnyValue(string_value=value)
                if isinstance(value, str)
                else common.AnyValue(int_value=value)
            )
            yield common.KeyValue(key=name, value=found)
