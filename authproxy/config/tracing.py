"""The models of `tracing`: where spans go, and how many of them. Absent, there are none.

Values only; the collector is met by `telemetry/otlp.py`, which reads the files and secrets that are named here.
"""

import re
from typing import Annotated, Any

from pydantic import (
    BeforeValidator,
    Field,
    StrictFloat,
    StrictInt,
    StrictStr,
    WithJsonSchema,
    model_validator,
)

from authproxy.config.authenticators import HeaderName
from authproxy.config.values import Secret, parse_server
from authproxy.model.shape import Section, wrong

_COLLECTOR = re.compile(r"(https?://[^/]+)((?:/[A-Za-z0-9._~-]+)*)/?")
_LOCAL = re.compile(r"http://(?:localhost|127\.[0-9.]+|\[::1\])(?::[0-9]+)?(?:/|$)")
# What an HTTP library or we ourselves say about the body.
_OURS = frozenset({"host", "content-length", "content-type", "transfer-encoding", "connection"})


def parse_collector(value: Any) -> str:
    """`http://127.0.0.1:4318`, or with the path before `/v1/traces`: `https://otlp.example.com/tenant`."""
    found = _COLLECTOR.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        remedy = "write it like `http://127.0.0.1:4318`, without `/v1/traces` and without a query"
        raise wrong("bad-url", "this is no collector", remedy)
    if found[2].endswith("/v1/traces"):
        raise wrong("bad-url", "`/v1/traces` is added to it", "leave it out")
    return parse_server(found[1]) + found[2]


CollectorURL = Annotated[str, BeforeValidator(parse_collector), WithJsonSchema({"type": "string"})]
Share = Annotated[StrictFloat | StrictInt, Field(ge=0, le=1)]


class Tracing(Section):
    """Spans for a collector that speaks OTLP over HTTP; needs the extra `otel`."""

    otlp: CollectorURL
    sample: Share = 1.0
    service_name: Annotated[StrictStr, Field(pattern=r"^[ -~]{1,128}$")] = "authproxy"
    ca: StrictStr | None = None
    headers: dict[HeaderName, Secret] = {}

    @model_validator(mode="after")
    def _fit(self) -> "Tracing":
        if self.ca is not None and not self.otlp.startswith("https:"):
            remedy = "write https://, or remove `ca`"
            raise wrong("bad-tls", "`ca` is for a collector with https", remedy)
        taken = [name for name in self.headers if name.lower() in _OURS]
        if taken:
            remedy = "remove it; `headers` is for what the collector knows you by"
            raise wrong("bad-header", f"`{taken[0]}` is ours to send", remedy)
        if self.headers and not self.otlp.startswith("https:") and not _LOCAL.match(self.otlp):
            remedy = "write https://; only this machine is told secrets without TLS"
            raise wrong("bad-url", "`headers` would be sent in the clear", remedy)
        return self
