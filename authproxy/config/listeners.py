"""The models of `listeners`: where clients connect, how TLS is spoken there, and whose word about a connection counts.

Values only, as in schema.py; what the files hold that are named here is server/tls.py's question.
"""

from typing import Annotated, Literal

from pydantic import Field, StrictInt, StrictStr, model_validator

from authproxy.config.values import Duration, ListenAddress, NetworkText, later
from authproxy.model.shape import Section, wrong

HSTS_LEAST = 1.0  # seconds; less rounds to a promise that ends as it is given


class CertificatePair(Section):
    """A server certificate (PEM, with its chain) and its private key."""

    certificate: StrictStr
    private_key: StrictStr


class ClientCertificates(Section):
    """Whose certificates clients may show. `optional`: none is fine, one that does not verify fails the handshake."""

    authorities: StrictStr
    mode: Literal["optional", "required"] = "required"


class ListenerTLS(Section):
    """TLS on a listener; the first certificate answers names that none is for."""

    certificates: Annotated[list[CertificatePair], Field(min_length=1)]
    profile: Literal["intermediate", "modern"] = "intermediate"
    client_certificates: ClientCertificates | None = None
    hsts: Duration | None = None

    @model_validator(mode="after")
    def _whole_seconds(self) -> "ListenerTLS":
        if self.hsts is not None and 0 < self.hsts < HSTS_LEAST:
            # RFC 6797 section 6.1.1: whole seconds, and 0 means: forget it.
            raise wrong("bad-hsts", "browsers remember it for whole seconds", "write it like `365d`, or 0 to take it back")  # fmt: skip
        return self


class Listener(Section):
    """Where clients connect."""

    address: ListenAddress
    tls: ListenerTLS | None = None
    redirect_to_https: Annotated[StrictInt, Field(ge=1, le=65535)] | None = None
    proxy_protocol: Annotated[list[NetworkText], Field(min_length=1)] | None = None
    forward_auth: later("forward_auth") = None  # type: ignore[valid-type]

    @model_validator(mode="after")
    def _redirects_to_another(self) -> "Listener":
        if self.redirect_to_https is not None and self.tls is not None:
            raise wrong(
                "redirect-on-tls",
                "this listener speaks TLS already",
                "remove `redirect_to_https`, or `tls`",
            )
        return self
