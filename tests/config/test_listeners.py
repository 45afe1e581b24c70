"""The models of `listeners`: what each key takes, and what it refuses."""

from ipaddress import ip_network
from typing import Any

import pytest
from pydantic import ValidationError

from authproxy.config.listeners import Listener

TLS: dict[str, Any] = {"certificates": [{"certificate": "a.crt", "private_key": "a.key"}]}


def listener(**keys: Any) -> Listener:
    return Listener.model_validate({"address": "127.0.0.1:8443", **keys})


def kinds(**keys: Any) -> list[str]:
    """The kinds of error; none where it is right."""
    try:
        listener(**keys)
    except ValidationError as error:
        return [e["type"] for e in error.errors()]
    return []


def test_a_listener_is_plain_and_believes_nobody() -> None:
    """Everything but the address may be left out, and does nothing then."""
    found = listener()
    assert (found.tls, found.redirect_to_https, found.proxy_protocol) == (None, None, None)
    tls = listener(tls=TLS).tls
    assert tls is not None
    assert (tls.profile, tls.client_certificates, tls.hsts) == ("intermediate", None, None)


def test_what_they_may_say() -> None:
    """As the reference has it."""
    found = listener(tls={**TLS, "client_certificates": {"authorities": "ca.crt"}, "hsts": "365d"}, proxy_protocol=["10.0.0.0/8"])  # fmt: skip
    assert found.tls is not None
    assert found.tls.client_certificates is not None
    assert (found.tls.client_certificates.mode, found.tls.hsts) == ("required", 31536000)
    assert found.proxy_protocol == [ip_network("10.0.0.0/8")]
    assert listener(redirect_to_https=443).redirect_to_https == 443


@pytest.mark.parametrize(
    "keys",
    [
        {"redirect_to_https": True}, {"redirect_to_https": 0}, {"redirect_to_https": 65536}, {"redirect_to_https": "443"},
        {"redirect_to_https": 443, "tls": TLS}, {"proxy_protocol": []}, {"proxy_protocol": True}, {"proxy_protocol": ["10.0.0.1/8"]},
        {"tls": {"certificates": []}}, {"tls": {**TLS, "hsts": "500ms"}}, {"tls": {**TLS, "hsts": True}},
        {"tls": {**TLS, "client_certificates": {"mode": "optional"}}}, {"tls": {**TLS, "client_certificates": "ca.crt"}},
        {"tls": {**TLS, "client_certificates": {"authorities": "ca.crt", "mode": "request"}}}, {"tls": {**TLS, "profile": "old"}},
    ],
)  # fmt: skip
def test_what_they_must_not_say(keys: dict[str, Any]) -> None:
    """One mistake is one error."""
    assert len(kinds(**keys)) == 1
