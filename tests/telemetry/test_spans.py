"""What a span says: the conventions' words, the right parents and times, and nothing of who called."""

from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from authproxy.telemetry.otlp import Ended
from authproxy.telemetry.spans import encoded
from tests.telemetry.collector import CLIENT, SERVER, said

TRACE, OURS, THEIRS = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
USUAL = Ended(
    traceparent=f"00-{TRACE}-{OURS}-01", parent="", tracestate="", began=1000.0, seconds=0.5,
    method="GET", scheme="https", host="a.test", path="/orders/1", version="1.1", status=200, code="",
    route="orders", upstream="app", server="10.0.0.1:9000", waited=0.125, answered=0.25,
)  # fmt: skip


def spans(**changes: Any) -> list[Span]:
    """The spans of a request, through the wire's format."""
    message = ExportTraceServiceRequest.FromString(encoded([USUAL._replace(**changes)], "edge"))
    return list(message.resource_spans[0].scope_spans[0].spans)


def test_a_request_is_two_spans() -> None:
    """The server's span with the client's below it, which is the parent that the backend was told of."""
    server, client = spans()
    assert (server.kind, client.kind) == (SERVER, CLIENT)
    assert {s.trace_id.hex() for s in (server, client)} == {TRACE}
    assert (server.parent_span_id, client.parent_span_id) == (b"", server.span_id)
    assert client.span_id.hex() == OURS
    assert len(server.span_id) == 8
    assert (server.name, client.name) == ("GET orders", "GET")
    assert said(server.attributes) == {
        "http.request.method": "GET", "http.response.status_code": 200, "http.route": "orders",
        "url.scheme": "https", "url.path": "/orders/1", "server.address": "a.test", "network.protocol.version": "1.1",
    }  # fmt: skip
    assert said(client.attributes) == {
        "http.request.method": "GET", "http.response.status_code": 200, "server.address": "10.0.0.1", "server.port": 9000,
        "authproxy.upstream": "app",
    }  # fmt: skip
    times = [server.start_time_unix_nano, client.start_time_unix_nano]
    assert times == [1_000_000_000_000, 1_000_125_000_000]
    ends = [server.end_time_unix_nano, client.end_time_unix_nano]
    assert ends == [1_000_500_000_000, 1_000_375_000_000]
    assert {s.status.code for s in (server, client)} == {Status.STATUS_CODE_UNSET}


def test_who_sends_says_its_name() -> None:
    """The resource is the service by its configured name, its version and the worker's process."""
    message = ExportTraceServiceRequest.FromString(encoded([USUAL, USUAL], "edge"))
    group = message.resource_spans[0]
    assert set(said(group.resource.attributes)) == {"service.name", "service.version", "process.pid"}  # fmt: skip
    assert said(group.resource.attributes)["service.name"] == "edge"
    assert len(group.scope_spans[0].spans) == 4


def test_a_trusted_proxys_span_is_the_parent() -> None:
    """Its id, and its tracestate, are kept."""
    server, client = spans(parent=THEIRS, tracestate="vendor=1")
    assert server.parent_span_id.hex() == THEIRS
    assert {s.trace_state for s in (server, client)} == {"vendor=1"}


def test_what_is_refused_has_one_span() -> None:
    """A refusal is no error of ours and never reached a backend; its code is told, a 5xx is an error by its code."""
    (span,) = spans(status=403, code="forbidden", server="", answered=0.0)
    assert said(span.attributes)["authproxy.code"] == "forbidden"
    assert "error.type" not in said(span.attributes)
    assert span.status.code == Status.STATUS_CODE_UNSET
    (span,) = spans(status=503, code="draining", server="", answered=0.0)
    assert said(span.attributes)["error.type"] == "draining"
    assert span.status.code == Status.STATUS_CODE_ERROR


def test_a_backend_that_fails_is_an_error_of_its_span() -> None:
    """Its 4xx and 5xx are errors of the client's span; no answer at all is one by our code, and lasts until the end."""
    for status, whose in ((404, [0, 2]), (500, [2, 2])):
        assert [s.status.code for s in spans(status=status)] == whose
    server, client = spans(status=504, code="upstream_timeout", answered=0.0)
    assert said(client.attributes)["error.type"] == "upstream_timeout"
    assert "http.response.status_code" not in said(client.attributes)
    assert client.end_time_unix_nano == server.end_time_unix_nano


@pytest.mark.parametrize("method", ["GET /secret", "BREW", "get", ""])
def test_a_method_that_nobody_knows_is_another(method: str) -> None:
    """A client cannot make names of spans: what is no known method is `_OTHER`, and HTTP in the name."""
    server, client = spans(method=method)
    assert (server.name, client.name) == ("_OTHER orders", "HTTP")
    assert said(server.attributes)["http.request.method"] == "_OTHER"


def test_before_a_route_is_found_little_is_said() -> None:
    """What is not known has no attribute; an IPv6 server is told without brackets, a Unix socket as localhost."""
    (span,) = spans(route="", upstream="", host="", path="", status=400, code="bad_request", server="")  # fmt: skip
    assert span.name == "GET"
    assert not {"http.route", "server.address", "url.path"} & set(said(span.attributes))
    _, client = spans(server="[::1]:80")
    assert said(client.attributes)["server.address"] == "::1"
    _, client = spans(server="localhost")
    assert "server.port" not in said(client.attributes)
