"""The section `tracing`: what it takes, its defaults, and what is refused with a remedy."""

from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.config.tracing import Tracing


@pytest.mark.parametrize(
    ("url", "meant"),
    [
        ("http://127.0.0.1:4318", "http://127.0.0.1:4318"),
        ("http://otel-collector:4318/", "http://otel-collector:4318"),
        ("https://otlp.example.com/tenant/a", "https://otlp.example.com/tenant/a"),
        ("http://[::1]:4318", "http://[::1]:4318"),
    ],
)
def test_collectors(url: str, meant: str) -> None:
    """A URL with or without a path; by default all requests are sampled, under the program's own name."""
    found = Tracing.model_validate({"otlp": url})
    assert (found.otlp, found.sample, found.service_name) == (meant, 1.0, "authproxy")


@pytest.mark.parametrize(
    "wrong",
    [
        {"otlp": "127.0.0.1:4318"},
        {"otlp": "grpc://127.0.0.1:4317"},
        {"otlp": "http://127.0.0.1:4318/v1/traces"},
        {"otlp": "http://127.0.0.1:4318?key=1"},
        {"otlp": "http://user:secret@c.test"},
        {"otlp": "unix:/run/c.sock"},
        {"otlp": 4318},
        {},
        {"otlp": "http://c.test", "sample": 1.5},
        {"otlp": "http://c.test", "sample": -0.1},
        {"otlp": "http://c.test", "sample": "10%"},
        {"otlp": "http://c.test", "sample": True},
        {"otlp": "http://c.test", "service_name": ""},
        {"otlp": "http://c.test", "ca": "ca.pem"},
        {"otlp": "https://c.test", "headers": {"X-Key": "literal"}},
        {"otlp": "https://c.test", "headers": {"Content-Type": {"env": "A"}}},
        {"otlp": "https://c.test", "headers": {"a b": {"env": "A"}}},
        {"otlp": "http://c.test", "headers": {"X-Key": {"env": "A"}}},
        {"otlp": "http://127.0.0.1.c.test", "headers": {"X-Key": {"env": "A"}}},
        {"otlp": "https://c.test", "other": 1},
    ],
)
def test_what_is_refused(wrong: dict[str, Any]) -> None:
    """No other protocols, no credentials in it, no share outside 0 and 1, no secret in the clear over a network."""
    with pytest.raises(ValidationError):
        Tracing.model_validate(wrong)


@pytest.mark.parametrize("url", ["https://c.test", "http://127.0.0.1:4318", "http://localhost/x", "http://[::1]:1"])  # fmt: skip
def test_secrets_go_over_tls_or_stay_here(url: str) -> None:
    """A field with a secret needs https, this machine excepted."""
    assert Tracing.model_validate({"otlp": url, "headers": {"X-Key": {"env": "A"}}}).headers
