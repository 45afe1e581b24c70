"""A collector of spans: takes OTLP over HTTP on the loopback, and keeps what it was sent."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span

SERVER, CLIENT = Span.SPAN_KIND_SERVER, Span.SPAN_KIND_CLIENT


def said(attributes: Any) -> dict[str, Any]:
    """Attributes as a mapping."""
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


@dataclass
class Sent:
    """What came: whole messages, and the head of each."""

    port: int = 0
    status: int = 200
    messages: list[ExportTraceServiceRequest] = field(default_factory=list)
    heads: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    connections: set[Any] = field(default_factory=set)
    hangs_up: bool = False

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def spans(self, kind: int | None = None) -> list[Span]:
        """All spans, or those of a kind."""
        found = [
            span
            for message in self.messages
            for group in message.resource_spans
            for scope in group.scope_spans
            for span in scope.spans
        ]
        return [span for span in found if kind is None or span.kind == kind]

    def resources(self, name: str) -> set[Any]:
        """What the senders said of themselves."""
        return {said(g.resource.attributes)[name] for m in self.messages for g in m.resource_spans}


@contextmanager
def collector(port: int = 0) -> Iterator[Sent]:
    """It listens until the end of the block."""
    sent = Sent()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            sent.heads.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            sent.connections.add(self.client_address)
            if sent.status == 200:
                sent.messages.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(sent.status)
            self.send_header("Content-Length", "0")
            self.end_headers()
            self.close_connection = (
                sent.hangs_up
            )  # without a word: as a connection that was idle for too long

        def log_message(self, format: str, *args: Any) -> None:
            """Nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads = True
    sent.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield sent
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
