"""Spans of requests: which ones are sampled, what they are told by, and what a backend is told of them (W3C Trace Context).

A span says how a request went, never who made it: no identity, token, query, header or client address goes into one.
Nothing is sent from here; `otlp.py` does that, in a thread of its own.
"""

import ssl
from collections.abc import Mapping
from typing import Protocol

from authproxy.config.load import Loaded
from authproxy.config.named_files import read_named
from authproxy.config.secrets import SecretError, read_secret
from authproxy.config.tracing import Tracing
from authproxy.model.errors import ConfigError
from authproxy.model.exchange import Exchange
from authproxy.telemetry.otlp import Collector, Ended, Exporter

SAMPLED = frozenset(
    "13579bdf"
)  # last digits of the flags that have the first bit set (section 3.2.2.5)


class Sink(Protocol):
    """Where spans go."""

    def put(self, ended: Ended) -> None:
        """One more."""


class Tracer:
    """Decides about spans and makes them. `sample` is the share of requests that nobody before us decided about.

    A trusted proxy's word on whether its trace is sampled goes before that. Whether a trace is among the share depends
    on its id alone, as OpenTelemetry's TraceIdRatioBased has it, so that all who ask so decide alike.
    """

    __slots__ = ("_below", "_sink")

    def __init__(self, sample: float, sink: Sink) -> None:
        self._below = round(sample * (1 << 64))
        self._sink = sink

    def begin(self, exchange: Exchange) -> None:
        """Say in the new `traceparent` of a request whether it is sampled."""
        made = exchange.traceparent
        if int(made[19:35], 16) >= self._below:
            exchange.traceparent = made[:-1] + "0"

    @staticmethod
    def adopt(exchange: Exchange, told: str) -> None:
        """Go on with the trace of a trusted proxy: where it is sampled, the backend's parent is our span, not theirs."""
        if told[-1] in SAMPLED:
            ours = exchange.traceparent[36:52]
            exchange.parent_span, exchange.traceparent = (
                told[36:52],
                f"{told[:36]}{ours}{told[52:]}",
            )
        else:
            exchange.traceparent = told

    def end(self, exchange: Exchange, seconds: float) -> None:
        """Make the spans of a request that has ended, if it is sampled."""
        if exchange.traceparent[-1] not in SAMPLED:
            return
        route = exchange.route
        self._sink.put(
            Ended(
                traceparent=exchange.traceparent,
                parent=exchange.parent_span,
                tracestate=exchange.tracestate,
                began=exchange.now,
                seconds=seconds,
                method=exchange.method,
                scheme=exchange.scheme,
                host=exchange.host,
                path=exchange.path,
                version=exchange.http_version,
                status=exchange.status,
                code=exchange.code,
                route=route.name if route is not None else "",
                upstream=route.upstream if route is not None else "",
                server=exchange.sent_to.decode(),
                waited=exchange.sent_at - exchange.started,
                answered=exchange.upstream_seconds,
            )
        )


class Traces:
    """The tracer with its exporter: what a runtime holds, and a worker starts and closes. `made_of` tells equal ones."""

    def __init__(self, settings: Tracing, collector: Collector, made_of: object) -> None:
        from authproxy.telemetry.spans import (
            encoded,
        )  # the extra: an ImportError where it is not installed

        self.made_of = made_of
        self.exporter = Exporter(collector, lambda batch: encoded(batch, settings.service_name))
        self.tracer = Tracer(float(settings.sample), self.exporter)


def _field_value(secret: bytes) -> str:
    """The secret as the value of a header field (RFC 9110 section 5.5).

    Raises:
        SecretError: it would be another one, or end the field.
    """
    text = secret.decode("latin-1")
    if not (text.isascii() and text.isprintable() and text == text.strip()):
        raise SecretError("it cannot stand in a header field")
    return text


def compile_traces(
    loaded: Loaded, environ: Mapping[str, str], previous: Traces | None = None
) -> Traces | None:
    """What the configuration asks for, or `previous` where that is the same; None where it asks for none.

    Raises:
        ConfigError: the extra is not installed, or a file or secret cannot be used.
    """
    settings = loaded.usable().tracing
    if settings is None:
        return None
    try:
        secrets = {
            name: _field_value(read_secret(secret, loaded.folder, environ))
            for name, secret in settings.headers.items()
        }
        ca = loaded.folder / settings.ca if settings.ca else None
        tls = ssl.create_default_context(cafile=ca) if settings.otlp.startswith("https:") else None
        made_of = settings, secrets, ca and read_named(ca)
        made = Traces(settings, Collector(settings.otlp, secrets, tls), made_of)
    except ImportError:
        text = "spans need packages that are not installed"
        remedy = "pip install 'authproxy[otel]', or remove `tracing`"
        problem = loaded.source.problem(("tracing",), "missing-extra", text, remedy, key=True)
    except SecretError as error:
        remedy = "provide it, then try again"
        problem = loaded.source.problem(("tracing", "headers"), "bad-secret", str(error), remedy)
    except OSError as error:  # ssl's errors are too
        why = (error.strerror or str(error)).lower()
        text = f"the collector's authorities in {settings.ca} cannot be used: {why}"
        remedy = "check the path and that it is PEM"
        problem = loaded.source.problem(("tracing", "ca"), "bad-tls", text, remedy)
    else:
        return previous if previous is not None and previous.made_of == made.made_of else made
    raise ConfigError([problem])
